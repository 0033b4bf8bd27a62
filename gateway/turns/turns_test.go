package turns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker/rank"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// gateRig is a gate with one place, which the test passes on by hand.
type gateRig struct {
	t       *testing.T
	gate    *Gate[string]
	served  chan served
	running sync.WaitGroup
}

type served struct {
	name  string
	place *Place[string]
}

func newGateRig(t *testing.T) *gateRig {
	g := New[string](1, 0, time.Now)
	g.Stale = time.Hour
	return &gateRig{t: t, gate: g, served: make(chan served)}
}

func at(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// wait adds a connection that waits for a channel.
func (r *gateRig) wait(ctx context.Context, name string, by *Asker) {
	before := r.gate.Size()
	r.running.Go(func() {
		p, err := r.gate.Enter(ctx, by, name)
		if err == nil {
			r.served <- served{name, p}
		}
	})
	for r.gate.Size() != before+1 {
		select {
		case <-time.After(time.Millisecond):
		case <-r.t.Context().Done():
			r.t.Fatal(name + " does not wait")
		}
	}
}

// turns passes the place on until nobody waits, and returns the names in order.
func (r *gateRig) turns(p *Place[string]) (names []string) {
	for n := r.gate.Size(); n > 0; n-- {
		p.End()
		s := <-r.served
		names, p = append(names, s.name), s.place
	}
	p.End()
	r.running.Wait()
	return names
}

func (r *gateRig) take(by *Asker) *Place[string] {
	r.t.Helper()
	p, err := r.gate.Enter(r.t.Context(), by, "taken")
	if err != nil || p == nil {
		r.t.Fatal(p, err)
	}
	return p
}

// TestTrust11ANewcomerWaitsForAHandful: a client with many requests delays only itself, however it
// distributes them.
func TestTrust11ANewcomerWaitsForAHandful(t *testing.T) {
	for name, storm := range map[string]func(i int) (*Asker, int){
		"one address":                                   func(i int) (*Asker, int) { return &Asker{Address: at(1)}, 1 },
		"many addresses that had many turns":            func(i int) (*Asker, int) { return &Asker{Address: at(1 + i%40)}, many },
		"connections that had many turns":               func(i int) (*Asker, int) { return &Asker{Address: at(1), turns: 1000}, 1 },
		"the newcomer's address, in many connections":   func(i int) (*Asker, int) { return &Asker{Address: at(0), turns: 1000}, 1 },
		"connections with many turns, of all addresses": func(i int) (*Asker, int) { return &Asker{Address: at(i % 40), turns: 1000}, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newGateRig(t)
			r.gate.rate = rate.NewLimiter(1e6, 1<<20)
			for i := range 40 {
				by, before := storm(i)
				for range before {
					r.take(by).End()
				}
			}
			p := r.take(&Asker{Address: at(1)})
			for i := range 200 {
				by, _ := storm(i)
				r.wait(t.Context(), fmt.Sprint("storm-", i), by)
			}
			r.wait(t.Context(), "newcomer", &Asker{Address: at(0)})
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

// TestTrust11EverybodyHasTurns: an endless stream of newcomers keeps no client from its turn.
func TestTrust11EverybodyHasTurns(t *testing.T) {
	r := newGateRig(t)
	for range many {
		r.take(&Asker{Address: at(1)}).End()
	}
	p := r.take(&Asker{Address: at(1)})
	r.wait(t.Context(), "regular", &Asker{Address: at(1)})
	for i := range 30 {
		r.wait(t.Context(), fmt.Sprint("newcomer-", i), &Asker{Address: at(100 + i)})
	}
	for i, name := range r.turns(p) {
		if name == "regular" && i > 4 {
			t.Errorf("one who had many turns waited for %d newcomers", i)
		}
	}
}

// TestTrust11OneAttachServesAllWhoWait: many wait for one channel, which is attached once, and then all of
// them go on.
func TestTrust11OneAttachServesAllWhoWait(t *testing.T) {
	r := newGateRig(t)
	p := r.take(&Asker{})
	for range 50 {
		r.wait(t.Context(), "same", &Asker{Address: at(1)})
	}
	r.wait(t.Context(), "other", &Asker{Address: at(1)})
	r.gate.Coming("same")
	for range 50 {
		if s := <-r.served; s.name != "same" || s.place != nil {
			t.Fatalf("%s was served with place %v", s.name, s.place)
		}
	}
	if names := r.turns(p); len(names) != 1 || names[0] != "other" {
		t.Errorf("turns: %v", names)
	}
}

// TestTrust11PlacesAndWaitsEnd: an attach that takes long holds nobody up, and a cancelled wait leaves
// nothing behind.
func TestTrust11PlacesAndWaitsEnd(t *testing.T) {
	r := newGateRig(t)
	r.gate.Stale = time.Millisecond
	stuck := r.take(&Asker{Address: at(1)})
	r.take(&Asker{Address: at(2)}).End()
	r.gate.Stale = time.Hour
	p := r.take(&Asker{Address: at(3)})
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 20 {
		r.wait(ctx, fmt.Sprint("w-", i%3), &Asker{Address: at(i)})
	}
	cancel()
	r.running.Wait()
	p.End()
	stuck.End()
	g := r.gate
	if g.used != 0 || g.waiting != 0 || len(g.clients) != 0 || len(g.wanted) != 0 {
		t.Errorf("left: %d places, %d waiting, %d clients, %d channels", g.used, g.waiting, len(g.clients), len(g.wanted))
	}
}

// TestTrust11ManyChannelsHaveARate: connections that had many turns have a rate, and others do not wait for
// it.
func TestTrust11ManyChannelsHaveARate(t *testing.T) {
	r := newGateRig(t)
	r.gate.rate = rate.NewLimiter(1e-6, 4)
	many := &Asker{Address: at(1), turns: many}
	for range 4 {
		r.take(many).End()
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.wait(ctx, "many", many)
	for i := range 100 {
		r.take(&Asker{Address: at(1 + i%2)}).End()
	}
	if r.gate.Size() != 1 {
		t.Error("the rate was not kept")
	}
	// The rate allows it now.
	r.gate.mu.Lock()
	r.gate.rate = rate.NewLimiter(1e6, 1<<20)
	r.gate.serve()
	r.gate.mu.Unlock()
	(<-r.served).place.End()
	cancel()
	r.running.Wait()
}

// TestTrust11WhoWaitsForTheRateIsServed: a connection with many turns is served when the rate allows it, and
// delays no other connection of its client.
func TestTrust11WhoWaitsForTheRateIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[int](10, 2, time.Now)
		began := time.Now()
		take := func(by *Asker) time.Duration {
			p, err := g.Enter(t.Context(), by, 1)
			if err != nil || p == nil {
				t.Fatal(p, err)
			}
			p.End()
			return time.Since(began)
		}
		by := &Asker{Address: at(1)}
		for i := range many + 8 {
			if d := take(by); d != 0 {
				t.Fatalf("turn %d comes after %v, before the burst is over", i, d)
			}
		}
		for i := range 6 {
			if d, want := take(by), time.Duration(i+1)*time.Second/2; d < want || d > want+100*time.Millisecond {
				t.Errorf("turn %d of the rate comes after %v, want %v", i, d, want)
			}
			now := time.Since(began)
			if d := take(&Asker{Address: at(1)}); d != now {
				t.Errorf("another connection of the client waits for %v", d-now)
			}
		}
		g.Coming(1)
		if g.used != 0 || g.waiting != 0 || len(g.clients) != 0 || len(g.wanted) != 0 {
			t.Errorf("left: %d places, %d waiting, %d clients, %d channels", g.used, g.waiting, len(g.clients), len(g.wanted))
		}
	})
}

// TestTrust11AChannelComesAgain: a channel may be attached any number of times, each time for those that wait
// then.
func TestTrust11AChannelComesAgain(t *testing.T) {
	r := newGateRig(t)
	p := r.take(&Asker{})
	for range 3 {
		r.wait(t.Context(), "c", &Asker{Address: at(1)})
		r.gate.Coming("c")
		r.gate.Coming("c")
		if s := <-r.served; s.place != nil {
			t.Errorf("%s has a place", s.name)
		}
	}
	r.turns(p)
}

// TestTrust11TurnsAreForgotten: turns count against a client for at least five and at most ten seconds.
func TestTrust11TurnsAreForgotten(t *testing.T) {
	for later, share := range map[time.Duration]int{
		0: 6, memory - 1: 6, memory: 6, 2*memory - 1: 6, 2 * memory: 4, time.Hour: 4,
	} {
		r := newGateRig(t)
		now := time.Unix(1000, 0)
		r.gate.now = func() time.Time { return now }
		r.gate.began = now
		for range many {
			r.take(&Asker{Address: at(1)}).End()
		}
		p := r.take(&Asker{Address: at(3)})
		now = now.Add(later)
		for i := range 8 {
			r.wait(t.Context(), fmt.Sprint("new-", i), &Asker{Address: at(2)})
			r.wait(t.Context(), fmt.Sprint("old-", i), &Asker{Address: at(1)})
		}
		n := 0
		for _, name := range r.turns(p)[:8] {
			if strings.HasPrefix(name, "new") {
				n++
			}
		}
		if n != share {
			t.Errorf("%v later a newcomer has %d of 8 turns beside who had many, want %d", later, n, share)
		}
	}
}
