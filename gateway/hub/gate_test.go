package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// gateRig is a gate with one place, which a test gives on by hand.
type gateRig struct {
	t       *testing.T
	gate    *gate
	served  chan served
	running sync.WaitGroup
}

type served struct {
	name  string
	place *place
}

func newGateRig(t *testing.T) *gateRig {
	g := newGate(1, 0, time.Now)
	g.stale = time.Hour
	return &gateRig{t: t, gate: g, served: make(chan served)}
}

func at(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// wait lets a connection wait for a channel of its own.
func (r *gateRig) wait(ctx context.Context, name string, by *asker) {
	before := r.gate.size()
	r.running.Go(func() {
		p, err := r.gate.enter(ctx, by, channelKey{"app", name})
		if err == nil {
			r.served <- served{name, p}
		}
	})
	eventually(r.t, name+" waits", func() bool { return r.gate.size() == before+1 })
}

// turns gives the place on until nobody waits, and says who had it.
func (r *gateRig) turns(p *place) (names []string) {
	for n := r.gate.size(); n > 0; n-- {
		p.end()
		s := <-r.served
		names, p = append(names, s.name), s.place
	}
	p.end()
	r.running.Wait()
	return names
}

func (r *gateRig) take(by *asker) *place {
	r.t.Helper()
	p, err := r.gate.enter(r.t.Context(), by, channelKey{"app", "taken"})
	if err != nil || p == nil {
		r.t.Fatal(p, err)
	}
	return p
}

// One who asks for much waits for himself, however he asks.
func TestTrust11ANewcomerWaitsForAHandful(t *testing.T) {
	for name, storm := range map[string]func(i int) (*asker, int){
		"one address":                                   func(i int) (*asker, int) { return &asker{address: at(1)}, 1 },
		"many addresses that had many turns":            func(i int) (*asker, int) { return &asker{address: at(1 + i%40)}, gateNew },
		"connections that had many turns":               func(i int) (*asker, int) { return &asker{address: at(1), turns: 1000}, 1 },
		"the newcomer's address, in many connections":   func(i int) (*asker, int) { return &asker{address: at(0), turns: 1000}, 1 },
		"connections with many turns, of all addresses": func(i int) (*asker, int) { return &asker{address: at(i % 40), turns: 1000}, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newGateRig(t)
			r.gate.rate = rate.NewLimiter(1e6, 1<<20)
			for i := range 40 {
				by, before := storm(i)
				for range before {
					r.take(by).end()
				}
			}
			p := r.take(&asker{address: at(1)})
			for i := range 200 {
				by, _ := storm(i)
				r.wait(t.Context(), fmt.Sprint("storm-", i), by)
			}
			r.wait(t.Context(), "newcomer", &asker{address: at(0)})
			for i, name := range r.turns(p) {
				if name == "newcomer" {
					if i > 5 {
						t.Errorf("the newcomer waited for %d others", i)
					}
					return
				}
			}
			t.Error("the newcomer was never served")
		})
	}
}

// Newcomers without end keep nobody from his turn.
func TestTrust11EverybodyHasTurns(t *testing.T) {
	r := newGateRig(t)
	for range gateNew {
		r.take(&asker{address: at(1)}).end()
	}
	p := r.take(&asker{address: at(1)})
	r.wait(t.Context(), "regular", &asker{address: at(1)})
	for i := range 30 {
		r.wait(t.Context(), fmt.Sprint("newcomer-", i), &asker{address: at(100 + i)})
	}
	for i, name := range r.turns(p) {
		if name == "regular" && i > 4 {
			t.Errorf("one who had many turns waited for %d newcomers", i)
		}
	}
}

// Many wait for one channel: it is attached once, and then all of them go on.
func TestTrust11OneAttachServesAllWhoWait(t *testing.T) {
	r := newGateRig(t)
	p := r.take(&asker{})
	for range 50 {
		r.wait(t.Context(), "same", &asker{address: at(1)})
	}
	r.wait(t.Context(), "other", &asker{address: at(1)})
	r.gate.coming(channelKey{"app", "same"})
	for range 50 {
		if s := <-r.served; s.name != "same" || s.place != nil {
			t.Fatalf("%s was served with place %v", s.name, s.place)
		}
	}
	if names := r.turns(p); len(names) != 1 || names[0] != "other" {
		t.Errorf("turns: %v", names)
	}
}

// What the log takes long for holds up nobody, and who gives up waiting leaves nothing.
func TestTrust11PlacesAndWaitsEnd(t *testing.T) {
	r := newGateRig(t)
	r.gate.stale = time.Millisecond
	stuck := r.take(&asker{address: at(1)})
	r.take(&asker{address: at(2)}).end()
	r.gate.stale = time.Hour
	p := r.take(&asker{address: at(3)})
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 20 {
		r.wait(ctx, fmt.Sprint("w-", i%3), &asker{address: at(i)})
	}
	cancel()
	r.running.Wait()
	p.end()
	stuck.end()
	g := r.gate
	if g.used != 0 || g.waiting != 0 || len(g.clients) != 0 || len(g.wanted) != 0 {
		t.Errorf("left: %d places, %d waiting, %d clients, %d channels", g.used, g.waiting, len(g.clients), len(g.wanted))
	}
}

// Connections that had many turns have a rate; others do not wait for it.
func TestTrust11ManyChannelsHaveARate(t *testing.T) {
	r := newGateRig(t)
	r.gate.rate = rate.NewLimiter(1e-6, 4)
	many := &asker{address: at(1), turns: gateNew}
	for range 4 {
		r.take(many).end()
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.wait(ctx, "many", many)
	for i := range 100 {
		r.take(&asker{address: at(1 + i%2)}).end()
	}
	if r.gate.size() != 1 {
		t.Error("the rate was not kept")
	}
	// The rate comes.
	r.gate.mu.Lock()
	r.gate.rate = rate.NewLimiter(1e6, 1<<20)
	r.gate.serve()
	r.gate.mu.Unlock()
	(<-r.served).place.end()
	cancel()
	r.running.Wait()
}

// heldFeed attaches channels whose names begin with "held" when it is told to.
type heldFeed struct {
	broker.Feed
	release chan struct{}
}

func (f *heldFeed) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if strings.HasPrefix(channel, "held") {
		select {
		case <-f.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f.Feed.Attach(ctx, app, channel, sink)
}

// While all places are taken, what is followed can be subscribed to, and what is not waits
// for its turn, until it is told that this takes too long.
func TestTrust11SubscriptionsWaitForTheirTurn(t *testing.T) {
	log := newMemory(t, "app")
	defer log.Close()
	feed := &heldFeed{Feed: log, release: make(chan struct{})}
	r := newRig(t, func(o *Options, _ *appT) { o.Feed, o.Attaching = feed, 2 })
	r.hub.gate.stale = time.Hour
	r.subscribed("followed", false)
	held := make([]*peer, 5)
	for i := range held {
		held[i], _ = r.connect()
		held[i].say(`{"event":"pusher:subscribe","data":{"channel":"held-%d"}}`, i)
	}
	waiting := func() float64 {
		return metricValue(t, r.registry, "sockudo_subscriptions_waiting", nil)
	}
	eventually(t, "three of them wait", func() bool { return waiting() == 3 })
	r.subscribed("followed", false)
	close(feed.release)
	for i, p := range held {
		if m := p.want("pusher_internal:subscription_succeeded"); m.Channel != fmt.Sprint("held-", i) {
			t.Errorf("got %s", m.text)
		}
	}
	if n := waiting(); n != 0 {
		t.Errorf("%v wait", n)
	}
}

func TestTrust11AWaitForATurnEnds(t *testing.T) {
	r := newRig(t, func(o *Options, _ *appT) { o.AttachTimeout = 100 * time.Millisecond })
	r.hub.gate.places = 0
	p, _ := r.connect()
	p.say(`{"event":"pusher:subscribe","data":{"channel":"c"}}`)
	p.want("pusher:error")
	if m := p.want("pusher:subscription_error"); m.Channel != "c" || !strings.Contains(m.str(), `"status":503`) {
		t.Errorf("got %s", m.text)
	}
	if n := r.limited("attaching"); n != 1 {
		t.Errorf("%v waits ended", n)
	}
	if _, err := r.hub.follows(r.app, "c", new(asker)); !errors.Is(err, errBusy) {
		t.Errorf("got %v", err)
	}
	p.usable()
}

// Channels that somebody left are kept for a moment, but not any number of them.
func TestTrust11ChannelsThatWereLeftHaveABound(t *testing.T) {
	r := newRig(t, func(o *Options, _ *appT) { o.SubscriptionRate, o.MessageRate = 0, 0 })
	p, _ := r.connect()
	const more = 300
	for i := 0; i < maxIdle+more; i += 100 {
		var all bytes.Buffer
		for k := i; k < i+100; k++ {
			all.Write(masked(websocket.Text, fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"channel":"c-%d"}}`, k)))
			all.Write(masked(websocket.Text, fmt.Appendf(nil, `{"event":"pusher:unsubscribe","data":{"channel":"c-%d"}}`, k)))
		}
		p.raw(all.Bytes())
		for range 100 {
			p.want("pusher_internal:subscription_succeeded")
		}
	}
	p.usable()
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if len(r.hub.idle) != maxIdle || len(r.hub.channels) != maxIdle {
		t.Errorf("%d channels are kept, %d in all; want %d", len(r.hub.idle), len(r.hub.channels), maxIdle)
	}
}

// A client is known by its address, and what counts as one is asked for.
func TestTrust11ClientsAreKnownByTheirNetworks(t *testing.T) {
	network := netip.MustParseAddr("192.0.2.0")
	r := newRig(t, func(o *Options, _ *appT) {
		o.Network = func(a netip.Addr) netip.Addr {
			if !a.IsLoopback() {
				t.Errorf("asked for %v", a)
			}
			return network
		}
	})
	p, id := r.connect()
	if got := r.hub.find(id).asks.address; got != network {
		t.Errorf("the client is %v", got)
	}
	p.usable()
}

// A long message costs more than a short one.
func TestTrust11LongRequestsCountMore(t *testing.T) {
	for size, waits := range map[int]bool{10: false, 5 * longRequest: true} {
		r := paced(t, 20, 20)
		p, _ := r.connect()
		for i := range 10 {
			p.say(`{"event":"pusher:subscribe","data":{"channel":"c-%d","more":%q}}`, i, strings.Repeat("x", size))
		}
		for range 10 {
			p.want("pusher_internal:subscription_succeeded")
		}
		if n := r.limited("subscription_rate"); n > 0 != waits {
			t.Errorf("with %d bytes more each it was made to wait %v times", size, n)
		}
	}
}
