package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/test/fault"
)

// gates has gateway processes, some of which are dead at times.
type gates struct {
	set childSettings

	mu  sync.Mutex
	all []*child
}

func spawnGates(t *testing.T, n int, set childSettings) *gates {
	g := &gates{set: set}
	for range n {
		g.all = append(g.all, spawn(t, set))
	}
	return g
}

// some returns the address of a gateway that was alive a moment ago.
func (g *gates) some(rnd *rand.Rand) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if c := g.all[rnd.IntN(len(g.all))]; c != nil {
			return c.address
		}
	}
}

// kill ends a gateway with SIGKILL. No client is sent to it from then on.
func (g *gates) kill(i int) {
	g.mu.Lock()
	c := g.all[i]
	g.all[i] = nil
	g.mu.Unlock()
	c.kill()
}

func (g *gates) start(t *testing.T, i int) {
	t.Helper()
	c := spawn(t, g.set)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[i] = c
}

// traveller is a reconnecting client: a [pilgrim] or a [browser].
type traveller interface {
	// arrive connects to a gateway. done is closed when the connection has ended, and leave closes the
	// connection.
	arrive(ctx context.Context, address string) (done <-chan struct{}, leave func(), err error)
	// stroll records that the client disconnects by itself.
	stroll()
}

// wandering reconnects a client to any gateway whenever it has lost its connection, until ctx is done. A
// restless client also disconnects by itself at times and stays away for a while.
func (g *gates) wandering(ctx context.Context, p traveller, restless bool, rnd *rand.Rand) {
	var tired <-chan time.Time
	for ctx.Err() == nil {
		if done, leave, err := p.arrive(ctx, g.some(rnd)); err == nil {
			if restless {
				tired = time.After(time.Duration(500+rnd.IntN(4000)) * time.Millisecond)
			}
			select {
			case <-done:
			case <-tired:
				leave()
				p.stroll()
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(rnd.IntN(3000)) * time.Millisecond):
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(20+rnd.IntN(80)) * time.Millisecond):
		}
	}
}

// barrage publishes numbered events through gateways that die and restart, and remembers the acknowledged
// ones.
type barrage struct {
	app      *app.App
	gates    *gates
	channels []string
	running  sync.WaitGroup
	stop     context.CancelFunc

	mu    sync.Mutex
	n     int
	acked map[string]string // channel by event
}

// open starts the publishers, each of which publishes one event per pace.
func (b *barrage) open(ctx context.Context, publishers int, pace time.Duration, rnd *rand.Rand) {
	b.acked = map[string]string{}
	ctx, b.stop = context.WithCancel(ctx)
	for range publishers {
		dice := rand.New(rand.NewPCG(rnd.Uint64(), 1))
		b.running.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				b.publish(ctx, b.channels[dice.IntN(len(b.channels))], dice)
			}
		})
	}
}

// publish sends one event until it is acknowledged, with the same idempotency key each time.
func (b *barrage) publish(ctx context.Context, channel string, dice *rand.Rand) {
	b.mu.Lock()
	b.n++
	id := fmt.Sprint("e", b.n)
	b.mu.Unlock()
	body := fmt.Sprintf(`{"name":"load","channel":%q,"data":%q,"idempotency_key":%q}`, channel, id, id)
	for ctx.Err() == nil {
		status, err := tryRequest(b.gates.some(dice), b.app, http.MethodPost, "/events", body)
		if err == nil && status == http.StatusOK {
			b.mu.Lock()
			b.acked[id] = channel
			b.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// count returns the number of acknowledged events.
func (b *barrage) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked)
}

// times collects durations.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *times) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// String returns the number of durations, and their p50, p99 and maximum.
func (s *times) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d times, p50 %v, p99 %v, at most %v", len(s.all), s.at(50), s.at(99), s.at(100))
}

func (s *times) at(percent int) time.Duration {
	if len(s.all) == 0 {
		return 0
	}
	slices.Sort(s.all)
	return s.all[min(len(s.all)*percent/100, len(s.all)-1)].Round(time.Millisecond / 10)
}

// TestTime03UnderFire kills gateways and the leader of the stream in turn (kill -9) while V2 clients and
// readers of event streams reconnect to any live gateway. Each acknowledged event reaches each client once
// and in order, or the client was told of the gap (RE-02, RE-11).
func TestTime03UnderFire(t *testing.T) {
	fault.Seeds(t, 3, func(t *testing.T, rnd *rand.Rand) {
		sockets, readers, lasts := 40, 10, 20*time.Second
		if fault.Long() {
			sockets, readers, lasts = 200, 50, 2*time.Minute
		}
		servers := spawnNATSCluster(t, clock{}, clock{}, clock{})
		set := childSettings{URLs: urlsOf(servers), App: "app", Members: 100, Lease: 15 * time.Second, Recovers: mayMiss}
		a := set.tenant()
		g := spawnGates(t, 3, set)
		b := &barrage{app: a, gates: g}
		for i := range 8 {
			b.channels = append(b.channels, fmt.Sprint("fire-", i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		crowd := newCrowd(b, sockets, readers)
		defer crowd.wandering.Wait()
		defer cancel()
		crowd.begin(ctx, t, rnd)
		b.open(ctx, 4, 20*time.Millisecond, rnd)
		kills := fireAt(t, g, b, servers, a, lasts, rnd)
		b.stop()
		b.running.Wait()
		log, err := streams.Open(t.Context(), streams.Options{
			URLs: urlsOf(servers), Replicas: 3, StartTimeout: patience,
			Apps: []streams.AppOptions{{ID: a.ID, Secrets: []streams.Secret{"secret"}, MaxMessages: set.retained(), MaxBytes: -1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		for _, channel := range b.channels {
			b.publish(ctx, channel, rnd) // no client may be told that this event is missing
			b.compare(t, channel, readPlaces(t, log, a.ID, channel), crowd.diaries())
		}
		t.Logf("%d kills; %d events acknowledged", kills, b.count())
		crowd.tell(t)
	})
}

// crowd has clients of both kinds that reconnect whenever they lost a gateway. Each has two channels shared
// with others, and one client in four also a channel of its own.
type crowd struct {
	b                        *barrage
	sockets                  []*pilgrim
	readers                  []*browser
	socketsTook, readersTook times
	wandering                sync.WaitGroup
}

// newCrowd creates the clients, and adds their own channels to those of the barrage.
func newCrowd(b *barrage, sockets, readers int) *crowd {
	c := &crowd{b: b}
	channels := func(kind string, i int) []string {
		all := []string{b.channels[i%8], b.channels[(i+3)%8]}
		if i%4 == 0 {
			all = append(all, fmt.Sprint(kind, i))
			b.channels = append(b.channels, all[2])
		}
		return all
	}
	for i := range sockets {
		p := newPilgrim(b.app, channels("own-", i)...)
		p.early, p.took = i%2 == 0, c.socketsTook.add
		c.sockets = append(c.sockets, p)
	}
	for i := range readers {
		r := newBrowser(b.app, channels("read-", i)...)
		if i%5 == 3 {
			r.channels = r.channels[:1] // the event ids cover all its channels
		}
		r.took = c.readersTook.add
		c.readers = append(c.readers, r)
	}
	return c
}

// begin connects all clients, and waits until each has a position in each of its channels.
func (c *crowd) begin(ctx context.Context, t *testing.T, rnd *rand.Rand) {
	t.Helper()
	wander := func(who traveller, restless bool) {
		dice := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		c.wandering.Go(func() { c.b.gates.wandering(ctx, who, restless, dice) })
	}
	for i, p := range c.sockets {
		wander(p, i%8 < 3)
	}
	for i, r := range c.readers {
		wander(r, i%8 < 3)
	}
	eventually(t, "all have subscribed", func() bool {
		return !slices.ContainsFunc(c.diaries(), func(d *diary) bool {
			return slices.ContainsFunc(d.channels, func(channel string) bool { return d.at(channel).Stream == "" })
		})
	})
}

func (c *crowd) diaries() (all []*diary) {
	for _, p := range c.sockets {
		all = append(all, &p.diary)
	}
	for _, r := range c.readers {
		all = append(all, &r.diary)
	}
	return all
}

// tell logs how the clients recovered.
func (c *crowd) tell(t *testing.T) {
	t.Helper()
	say := func(kind string, all []*diary, took *times) {
		resumed, cold := 0, 0
		for _, d := range all {
			d.mu.Lock()
			resumed, cold = resumed+d.resumed, cold+d.cold
			d.mu.Unlock()
		}
		t.Logf("%d %s: %d subscriptions resumed, %d of them from the log; recovered %v", len(all), kind, resumed, cold, took)
		if resumed == 0 {
			t.Errorf("none of the %s resumed", kind)
		}
	}
	all := c.diaries()
	say("sockets", all[:len(c.sockets)], &c.socketsTook)
	say("readers", all[len(c.sockets):], &c.readersTook)
}

// fireAt kills one process after the other and restarts it, for the duration lasts.
func fireAt(t *testing.T, g *gates, b *barrage, servers []*natsChild, a *app.App, lasts time.Duration, rnd *rand.Rand) (kills int) {
	t.Helper()
	for until := time.Now().Add(lasts); time.Now().Before(until) || kills < 4; kills++ {
		more := func(n int) {
			want := b.count() + n
			eventually(t, "further events are acknowledged", func() bool { return b.count() >= want })
		}
		more(50 + rnd.IntN(100))
		if kills%3 == 2 {
			led := leaderOf(t, servers, a)
			led.kill()
			more(50 + rnd.IntN(50))
			led.start()
			continue
		}
		victim := rnd.IntN(len(g.all))
		g.kill(victim)
		more(rnd.IntN(100))
		g.start(t, victim)
	}
	return kills
}

// compare waits until every client has the end of a channel, and checks that it has every other event outside
// the gaps it was told of.
func (b *barrage) compare(t *testing.T, channel string, log []place, clients []*diary) {
	t.Helper()
	last := log[len(log)-1]
	stored := map[string]int{}
	for _, at := range log {
		stored[at.ID]++
	}
	b.mu.Lock()
	for id, of := range b.acked {
		if of == channel && stored[id] != 1 {
			t.Errorf("%s was acknowledged and is in the log %d times", id, stored[id])
		}
	}
	b.mu.Unlock()
	for i, d := range clients {
		if !slices.Contains(d.channels, channel) {
			continue
		}
		eventually(t, fmt.Sprintf("client %d has the end of %s", i, channel), func() bool { return d.at(channel).Serial >= last.Serial })
		d.mu.Lock()
		var want []string
		for _, at := range log {
			missing := slices.ContainsFunc(d.gaps[channel], func(gap told) bool { return at.Serial > gap.after && at.Serial <= gap.through })
			if at.Serial > d.began[channel].Serial && !missing {
				want = append(want, at.ID)
			}
		}
		for _, gap := range d.gaps[channel] {
			t.Logf("client %d was told that it cannot have %d to %d of %s: %s, %s (live: %t)", i, gap.after+1, gap.through, channel, gap.code, gap.reason, gap.live)
		}
		for _, w := range d.wrong {
			t.Errorf("client %d: %s", i, w)
		}
		d.wrong = nil
		d.mu.Unlock()
		if got := d.has(channel); !slices.Equal(got, want) {
			t.Errorf("client %d has of %s\n%s\nwant\n%s", i, channel, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}

// readPlaces reads the positions of a channel's events from the log, with the events' data as ids.
func readPlaces(t *testing.T, log broker.History, appID, channel string) (all []place) {
	t.Helper()
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
			all = append(all, place{p.Epoch, p.Offset, string(p.Data)})
			from = p.Offset + 1
		}
		if !page.More {
			return all
		}
	}
}
