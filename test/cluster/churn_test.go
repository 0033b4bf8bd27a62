package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/pusher"
)

var (
	churnFor  = flag.Duration("churn", 6*time.Second, "how long the churn test lasts")
	churnSeed = flag.Uint64("seed", 0, "seed of the churn test, 0 for a random one")
)

const (
	churnSockets    = 100
	churnPublishers = 8
	// churnEvents is the minimum number of published events, also on a slow machine.
	churnEvents = 400
)

// churnChannels has channels of both modes: slow sockets are conflated on the keyed ones, and closed on the
// others.
var churnChannels = []string{"plain-1", "plain-2", "keyed-1", "keyed-2", "keyed-3"}

// churn is one run.
type churn struct {
	t    *testing.T
	c    *cluster
	app  *app.App
	stop chan struct{}
	// excluded holds, by event, the socket that must not get it.
	excluded sync.Map
	ids      sync.Map // ids of connected sockets, for exclusion
	events   atomic.Int64
	closed   atomic.Int64

	mu       sync.Mutex
	sessions []*session
	conns    int
	// last holds the newest publications of each channel, once all were published.
	last map[string][]*broker.Publication
}

// TestChurn (DS-36): whatever sockets do, each of their subscriptions gets the events of the log in order, or
// is told that it missed some.
func TestChurn(t *testing.T) {
	seed := *churnSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", seed)
	a := tenant("app")
	a.Conflate = true
	keyed := a.Delta
	keyed.Path, keyed.MaxKeys = "symbol", 8
	a.Patterns = []app.Pattern{{Match: "keyed-*", Delta: keyed}}
	c := start(t, 3, settings{apps: []*app.App{a}, retained: -1, hub: hub.Options{
		QueueFrames: 64, QueueBytes: 64 << 10, SlowAge: 3 * time.Second, PerConnection: app.PerConnection{MaxDeltaChannels: 3}, SendBuffer: 16 << 10,
	}})
	ch := &churn{t: t, c: c, app: a, stop: make(chan struct{})}
	var publishers, sockets sync.WaitGroup
	for i := range churnPublishers {
		publishers.Go(func() { ch.publish(i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	quiet := make(chan struct{})
	for i := range churnSockets {
		sockets.Go(func() { ch.live(i, rand.New(rand.NewPCG(seed, uint64(1000+i))), quiet) })
	}
	ch.awaitEnough()
	close(ch.stop)
	publishers.Wait()
	ch.last = map[string][]*broker.Publication{}
	for _, channel := range churnChannels {
		page, err := c.nodes[0].log.Read(t.Context(), a.ID, channel, broker.Query{NewestFirst: true, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		ch.last[channel] = page.Publications
	}
	close(quiet)
	sockets.Wait()
	ch.check()
}

// awaitEnough waits for the duration of the run, and until enough events were published for the comparison to
// mean something, however slow the machine is.
func (ch *churn) awaitEnough() {
	<-time.After(*churnFor)
	eventually(ch.t, "enough events are published", func() bool { return ch.events.Load() >= churnEvents })
}

// publish publishes at a steady pace until stop is closed.
func (ch *churn) publish(i int, r *rand.Rand) {
	s := ch.c.nodes[i%len(ch.c.nodes)].sign(ch.t, ch.app)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ch.stop:
			return
		case <-pace.C:
		}
		id := fmt.Sprintf("%d-%d", i, n)
		p := client.Publish{Name: []string{"tick", "tock"}[r.IntN(2)], Channel: churnChannels[r.IntN(len(churnChannels))]}
		note := strings.Repeat("steady ", 1+r.IntN(300))
		if r.IntN(4) == 0 {
			note = strings.Repeat(fmt.Sprintf("%016x", r.Uint64()), 1+r.IntN(300))
		}
		p.Data = fmt.Sprintf(`{"id":%q,"symbol":"S%d","note":%q}`, id, r.IntN(6), note)
		switch r.IntN(20) {
		case 0:
			no := false
			p.Delta = &no
		case 1, 2:
			ch.ids.Range(func(key, _ any) bool {
				p.SocketID = key.(string)
				ch.excluded.Store(id, p.SocketID)
				return r.IntN(4) != 0
			})
		}
		if err := s.Publish(ch.t.Context(), p); err != nil {
			ch.t.Errorf("publishing: %v", err)
			return
		}
		ch.events.Add(1)
	}
}

// live is the life of one socket: it subscribes and unsubscribes, stops reading, requests resyncs, and
// reconnects when it was closed.
func (ch *churn) live(i int, r *rand.Rand, quiet chan struct{}) {
	for {
		n := ch.c.nodes[r.IntN(len(ch.c.nodes))]
		s := dialSocket(ch.t, n, ch.app, []pusher.Dialect{pusher.V1, pusher.V2}[r.IntN(2)])
		if id := s.name(); id != "" {
			ch.ids.Store(id, true)
		}
		if r.IntN(5) > 0 {
			s.say("enable_delta_compression", []string{`{}`, `{"algorithms":["xdelta3"]}`}[r.IntN(2)])
		}
		again := ch.use(s, r, quiet)
		ch.ids.Delete(s.name())
		s.close()
		s.mu.Lock()
		ch.mu.Lock()
		ch.conns++
		ch.sessions = append(ch.sessions, s.sessions...)
		for _, err := range s.errs {
			ch.t.Errorf("socket %d: %v", i, err)
		}
		ch.mu.Unlock()
		switch s.closed {
		case 0, 1000, 1006:
		case uint16(pusher.CloseOverCapacity):
			ch.closed.Add(1)
		default:
			ch.t.Errorf("socket %d was closed with %d", i, s.closed)
		}
		s.mu.Unlock()
		if !again {
			return
		}
	}
}

// use acts at random on a connection. It reports whether the connection was lost before the end.
func (ch *churn) use(s *socket, r *rand.Rand, quiet chan struct{}) (lost bool) {
	on := map[string]bool{}
	act := time.NewTicker(time.Duration(50+r.IntN(300)) * time.Millisecond)
	defer act.Stop()
	for {
		select {
		case <-s.done:
			return true
		case <-quiet:
			return ch.finish(s, on)
		case <-act.C:
		}
		channel := churnChannels[r.IntN(len(churnChannels))]
		switch what := r.IntN(20); {
		case what < 8:
			delta := []string{``, `,"delta":true`, `,"delta":"xdelta3"`, `,"delta":false`}[r.IntN(4)]
			s.say("subscribe", fmt.Sprintf(`{"channel":%q%s}`, channel, delta))
			on[channel] = true
		case what < 10:
			s.leave(channel)
			delete(on, channel)
		case what < 13:
			s.say("delta_sync_error", fmt.Sprintf(`{"channel":%q}`, channel))
		case what == 13:
			return true
		case what < 16:
			resume := s.pause()
			select {
			case <-time.After(time.Duration(r.IntN(2500)) * time.Millisecond):
			case <-quiet:
			}
			resume()
		}
	}
}

// finish waits until the socket has the newest event of each of its channels.
func (ch *churn) finish(s *socket, on map[string]bool) (lost bool) {
	for channel := range on {
		due := ""
		for _, p := range ch.last[channel] {
			if p.ExcludeSocket != s.name() {
				due = gjson.GetBytes(p.Data, "id").String()
				break
			}
		}
		deadline := time.Now().Add(patience)
		for !s.has(channel, due) {
			if s.ended() {
				return false
			}
			if time.Now().After(deadline) {
				ch.t.Errorf("socket %s on %s never got %s, the last event", s.name(), channel, due)
				return false
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	return false
}

// has reports whether a subscription has got an event, or may have begun after it.
func (s *socket) has(channel, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.open[channel]
	if at == nil {
		return false
	}
	if len(at.got) == 0 {
		// The subscription may have begun after the last event.
		return true
	}
	return at.got[len(at.got)-1].id == id
}

// check compares every subscription with the log.
func (ch *churn) check() {
	logs := map[string][]*broker.Publication{}
	place := map[string]map[string]int{}
	for _, channel := range churnChannels {
		q := broker.Query{Limit: 1000, From: 1}
		place[channel] = map[string]int{}
		for {
			page, err := ch.c.nodes[0].log.Read(ch.t.Context(), ch.app.ID, channel, q)
			if err != nil {
				ch.t.Fatal(err)
			}
			for _, p := range page.Publications {
				place[channel][gjson.GetBytes(p.Data, "id").String()] = len(logs[channel])
				logs[channel] = append(logs[channel], p)
			}
			if !page.More {
				break
			}
			q.From = logs[channel][len(logs[channel])-1].Offset + 1
		}
	}
	delivered, deltas, skipped := 0, 0, 0
	for _, at := range ch.sessions {
		next, allowed := -1, 0
		for _, e := range at.got {
			if e.skipped > 0 {
				allowed += e.skipped
				skipped += e.skipped
				continue
			}
			i, ok := place[at.channel][e.id]
			if !ok || string(logs[at.channel][i].Data) != e.data {
				ch.t.Fatalf("%s got %s on %s, which the log does not have", at.socket, e.data, at.channel)
			}
			if next >= 0 && i < next {
				ch.t.Fatalf("%s on %s got %s again or out of order", at.socket, at.channel, e.id)
			}
			for ; next >= 0 && next < i; next++ {
				if logs[at.channel][next].ExcludeSocket != at.socket {
					allowed--
				}
			}
			if allowed < 0 {
				ch.t.Fatalf("%s on %s missed events before %s and was not told", at.socket, at.channel, e.id)
			}
			next = i + 1
			delivered++
			if e.form == client.Delta {
				deltas++
			}
		}
	}
	ch.t.Logf("%d events, %d connections, %d subscriptions, %d deliveries, %d of them deltas, %d skipped by conflation, %d connections closed as too slow",
		ch.events.Load(), ch.conns, len(ch.sessions), delivered, deltas, skipped, ch.closed.Load())
	if delivered < churnEvents || deltas < churnEvents/2 {
		ch.t.Errorf("%d deliveries, %d of them deltas: this shows nothing", delivered, deltas)
	}
}
