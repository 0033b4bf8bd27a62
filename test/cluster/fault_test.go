package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// load publishes to a few channels through all gateways and remembers the acknowledged events. An event that
// was not acknowledged may be stored or not.
type load struct {
	t        *testing.T
	channels []string

	mu    sync.Mutex
	acked map[string]int // channel by event

	next    atomic.Int64
	gates   atomic.Pointer[[]string] // addresses of gateways
	running sync.WaitGroup
	stop    chan struct{}
}

// startLoad publishes through the gateways of a cluster. An event that one of them does not accept goes to
// the next one, with the same idempotency key.
func startLoad(t *testing.T, c *cluster, a *app.App, channels, publishers int) *load {
	l := &load{t: t, acked: map[string]int{}, stop: make(chan struct{})}
	l.use(c)
	for i := range channels {
		l.channels = append(l.channels, fmt.Sprint("load-", i))
	}
	for p := range publishers {
		l.running.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				n := l.next.Add(1)
				at := int(n) % channels
				id := fmt.Sprint("e", n)
				body := fmt.Sprintf(`{"name":"load","channel":%q,"data":%q,"idempotency_key":%q}`, l.channels[at], id, id)
				status, err := 0, error(nil)
				for try := range 3 {
					gates := *l.gates.Load()
					if status, err = tryRequest(gates[(p+int(n)+try)%len(gates)], a, http.MethodPost, "/events", body); err == nil {
						break
					}
				}
				if err != nil {
					t.Errorf("no gateway took %s: %v", id, err)
				}
				if status == http.StatusOK {
					l.mu.Lock()
					l.acked[id] = at
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

// use directs further events to the current gateways of a cluster.
func (l *load) use(c *cluster) {
	var gates []string
	for _, n := range c.nodes {
		gates = append(gates, n.Addr())
	}
	l.gates.Store(&gates)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits until n further events were acknowledged.
func (l *load) more(n int) {
	l.t.Helper()
	want := l.count() + n
	eventually(l.t, "further events are acknowledged", func() bool { return l.count() >= want })
}

// check ends the load and compares what every socket saw with the log and with the acknowledged events: each
// acknowledged event once, in the order of the log.
func (l *load) check(c *cluster, a *app.App, watchers []*peer) {
	l.t.Helper()
	for channel, log := range l.end(c, a) {
		for i, w := range watchers {
			eventually(l.t, fmt.Sprintf("watcher %d has all %d events of %s", i, len(log), channel), func() bool {
				n := len(w.all("load", channel))
				select {
				case <-w.done:
					if n = len(w.all("load", channel)); n < len(log) {
						l.t.Fatalf("watcher %d was closed after %d of %d events of %s: %v", i, n, len(log), channel, w.all("pusher:error", ""))
					}
				default:
				}
				return n >= len(log)
			})
			got := w.all("load", channel)
			for k, m := range got {
				if k >= len(log) || m.str() != log[k] {
					l.t.Fatalf("watcher %d: event %d of %s is %s, the log has %v", i, k, channel, m.str(), log[min(k, len(log)-1)])
				}
			}
		}
	}
}

// end ends the load, compares the acknowledged events with the stored ones, and returns the stored ones by
// channel.
func (l *load) end(c *cluster, a *app.App) map[string][]string {
	l.t.Helper()
	close(l.stop)
	l.running.Wait()
	logs := map[string][]string{}
	for _, channel := range l.channels {
		logs[channel] = readLog(l.t, c.nodes[0].log, a.ID, channel)
		stored := map[string]bool{}
		for _, id := range logs[channel] {
			if stored[id] {
				l.t.Errorf("%s is stored twice", id)
			}
			stored[id] = true
		}
		l.mu.Lock()
		for id, at := range l.acked {
			if l.channels[at] == channel && !stored[id] {
				l.t.Errorf("%s was acknowledged and is not in the log", id)
			}
		}
		l.mu.Unlock()
	}
	l.t.Logf("%d events were acknowledged of %d", l.count(), l.next.Load())
	return logs
}

func readLog(t *testing.T, log *streams.Log, appID, channel string) []string {
	t.Helper()
	var out []string
	for from := uint64(1); ; {
		var page *broker.Page
		eventually(t, "the log can be read", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var err error
			page, err = log.Read(ctx, appID, channel, broker.Query{From: from, Limit: 1000})
			return err == nil
		})
		for _, p := range page.Publications {
			out = append(out, string(p.Data))
			from = p.Offset + 1
		}
		if !page.More {
			return out
		}
	}
}

func faultCluster(t *testing.T) (*cluster, *app.App, []*peer) {
	t.Helper()
	return faultClusterOf(t, settings{replicated: true})
}

func faultClusterOf(t *testing.T, set settings) (*cluster, *app.App, []*peer) {
	t.Helper()
	a := everything("app")
	a.SubscriptionCount = false
	set.apps = []*app.App{a}
	c := start(t, 3, set)
	var watchers []*peer
	for _, n := range c.nodes {
		w := n.connect(t, a)
		for i := range 4 {
			w.subscribe(fmt.Sprint("load-", i), "")
		}
		watchers = append(watchers, w)
	}
	return c, a, watchers
}

// TestR2R3KilledLeaders kills the leader of the stream (kill -9) under load, again and again, while one live
// message in a hundred is lost on its way to a gateway.
func TestR2R3KilledLeaders(t *testing.T) {
	fault.Seeds(t, 3, func(t *testing.T, rnd *rand.Rand) {
		servers := spawnNATSCluster(t, clock{}, clock{}, clock{})
		var mu sync.Mutex
		lost := 0
		dice := rand.New(rand.NewPCG(rnd.Uint64(), 3))
		c, a, watchers := faultClusterOf(t, settings{servers: servers, disturb: func(m *nats.Msg, deliver func(*nats.Msg)) {
			mu.Lock()
			lose := dice.IntN(100) == 0
			if lose {
				lost++
			}
			mu.Unlock()
			if !lose {
				deliver(m)
			}
		}})
		l := startLoad(t, c, a, 4, 6)
		for range 2 {
			l.more(200 + rnd.IntN(200))
			led := leaderOf(t, servers, a)
			led.kill()
			l.more(200 + rnd.IntN(200))
			led.start()
		}
		l.more(100)
		l.check(c, a, watchers)
		mu.Lock()
		defer mu.Unlock()
		if t.Logf("%d live messages were lost", lost); lost == 0 {
			t.Error("no live message was lost, so nothing was tested")
		}
	})
}

// TestR11LostQuorumIsLoud stops two of three servers. Then no event is acknowledged, /ready says why, and
// everything works again by itself when the servers are back.
func TestR11LostQuorumIsLoud(t *testing.T) {
	fault.Seeds(t, 11, func(t *testing.T, rnd *rand.Rand) {
		c, a, watchers := faultCluster(t)
		l := startLoad(t, c, a, 4, 4)
		l.more(100 + rnd.IntN(100))
		gone := rnd.IntN(3)
		c.nats.stop(gone)
		c.nats.stop((gone + 1) % 3)
		for i, n := range c.nodes {
			eventually(t, fmt.Sprint("gateway ", i, " is not ready"), func() bool { return !n.log.Health().Ready })
		}
		if status := c.nodes[0].request(t, a, http.MethodPost, "/events", `{"name":"lost","channel":"lost","data":"x"}`, nil); status != http.StatusServiceUnavailable {
			t.Errorf("a publish without a quorum answered %d", status)
		}
		// An event stored just before may still be acknowledged, as a duplicate. The comparison with the log
		// shows that no other event is.
		c.nats.run(gone)
		c.nats.run((gone + 1) % 3)
		c.nats.settle(3)
		for i, n := range c.nodes {
			eventually(t, fmt.Sprint("gateway ", i, " is ready again"), func() bool { return n.log.Health().Ready })
		}
		l.more(100)
		l.check(c, a, watchers)
	})
}

// TestR7OneKeyStoresOne retries one idempotency key fifty times at once: one event is stored.
func TestR7OneKeyStoresOne(t *testing.T) {
	fault.Seeds(t, 7, func(t *testing.T, rnd *rand.Rand) {
		c, a, _ := faultCluster(t)
		for round := range 5 {
			channel, key := fmt.Sprint("once-", round), fmt.Sprint("key-", rnd.Uint64())
			var running sync.WaitGroup
			for i := range 50 {
				running.Go(func() {
					body := fmt.Sprintf(`{"name":"once","channel":%q,"data":"x","idempotency_key":%q}`, channel, key)
					if status := requestAt(t, c.nodes[i%3].Addr(), a, http.MethodPost, "/events", body, nil); status != http.StatusOK {
						t.Errorf("answered %d", status)
					}
				})
			}
			running.Wait()
			if got := readLog(t, c.nodes[1].log, a.ID, channel); len(got) != 1 {
				t.Errorf("%d events are stored", len(got))
			}
		}
	})
}

// TestR12DeletedStreamIsANewLife deletes the stream of an app. Subscribers are closed with 4200, and further
// events have a new epoch.
func TestR12DeletedStreamIsANewLife(t *testing.T) {
	fault.Seeds(t, 12, func(t *testing.T, rnd *rand.Rand) {
		c, a, watchers := faultCluster(t)
		signed := c.nodes[0].sign(t, a)
		for i := range 10 + rnd.IntN(20) {
			publish(t, signed, "load-0", fmt.Sprint(i))
		}
		before, err := c.nodes[0].log.Retained(t.Context(), a.ID, "load-0")
		if err != nil {
			t.Fatal(err)
		}
		nc := c.raw(t)
		js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), streams.StreamOf(a.ID)); err != nil {
			t.Fatal(err)
		}
		for i, w := range watchers {
			if code := w.closed(); code != 4200 {
				t.Errorf("watcher %d was closed with %d", i, code)
			}
		}
		w := c.nodes[1].connect(t, a)
		w.subscribe("load-0", "")
		eventually(t, "publishing works again", func() bool {
			return c.nodes[2].request(t, a, http.MethodPost, "/events", `{"name":"load","channel":"load-0","data":"after"}`, nil) == http.StatusOK
		})
		if m := w.await("load", "load-0"); m.str() != "after" {
			t.Errorf("got %s", m.text)
		}
		eventually(t, "the epoch is another one", func() bool {
			after, err := c.nodes[0].log.Retained(t.Context(), a.ID, "load-0")
			return err == nil && after.Epoch != before.Epoch
		})
	})
}
