package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/test/redisserver"
)

const (
	// mayMiss is the number of events that a client may miss, keptEvents the number that the log keeps of
	// each channel in these tests.
	mayMiss, keptEvents = 2000, 1600
)

// coming is a set of gateways on one log to which clients come back.
type coming struct {
	t   *testing.T
	app *app.App
	// here is the gateway that clients leave, there another gateway that follows the same channels. join
	// starts a gateway that follows no channel yet.
	here, there string
	join        func() string
}

// comings lists the logs on which recovery must work.
var comings = []struct {
	name  string
	start func(t *testing.T) *coming
}{
	{"memory", comeToMemory},
	{"JetStream, embedded", func(t *testing.T) *coming { return comeTo(t, false) }},
	{"JetStream, three nodes", func(t *testing.T) *coming { return comeTo(t, true) }},
	{"Redis", func(t *testing.T) *coming {
		set := childSettings{Redis: redisserver.Start(t).URL(), App: "app", Members: 100, Recovers: mayMiss, Retained: keptEvents}
		join := func() string { return spawn(t, set).Addr() }
		return &coming{t: t, app: set.tenant(), here: join(), there: join(), join: join}
	}},
}

func comeTo(t *testing.T, replicated bool) *coming {
	a := everything("app")
	recovers(a, mayMiss)
	c := start(t, 2, settings{replicated: replicated, apps: []*app.App{a}, retained: keptEvents})
	return &coming{t: t, app: a, here: c.nodes[0].Addr(), there: c.nodes[1].Addr(), join: func() string { return c.join().Addr() }}
}

// comeToMemory has all gateways on one log in the memory of this process.
func comeToMemory(t *testing.T) *coming {
	a := everything("app")
	recovers(a, mayMiss)
	log, err := memory.New(memory.Options{Apps: []string{a.ID}, MaxMessages: keptEvents})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	table := kv.NewMemoryTable(nil)
	join := func() string {
		n, err := gateway.New(gateway.Options{
			Apps: app.NewRegistry(a), Log: log, Table: table, Listen: "127.0.0.1:0", Lease: 15 * time.Second,
			Hub: hub.Options{DeltaEnabled: true, Linger: 200 * time.Millisecond}, Drain: 10 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		over := make(chan error, 1)
		go func() { over <- n.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-over; err != nil {
				t.Errorf("a gateway ended with %v", err)
			}
		})
		return n.Addr()
	}
	return &coming{t: t, app: a, here: join(), there: join(), join: join}
}

// follow keeps a channel followed by both gateways until the end of the test.
func (c *coming) follow(channel string) {
	c.t.Helper()
	for _, gate := range []string{c.here, c.there} {
		v := newPilgrim(c.app, channel).come(c.t, gate)
		c.t.Cleanup(v.leave)
	}
}

// everywhere runs a case at the gateway that the client left, at another one, and at one that knows nothing
// of the channel.
func (c *coming) everywhere(each func(where, gate string)) {
	c.t.Helper()
	each("the same gateway", c.here)
	each("another gateway", c.there)
	each("a new gateway", c.join())
}

// away returns a client that saw the first few events of a channel and left.
func (c *coming) away(channel string, events int) *pilgrim {
	c.t.Helper()
	p := newPilgrim(c.app, channel)
	v := p.come(c.t, c.here)
	flood(c.t, c.here, c.app, channel, 1, events)
	eventually(c.t, "the client has the first events", func() bool { return len(p.has(channel)) == events })
	v.leave()
	return p
}

// from returns a client that resumes from the given position.
func (c *coming) from(channel string, at place) *pilgrim {
	p := newPilgrim(c.app, channel)
	p.places[channel] = at
	return p
}

// TestTime08RecoveryOnEveryLog: a client gets exactly the events it missed, or the reason why it cannot, from
// each log, at the gateway that it left and at others.
func TestTime08RecoveryOnEveryLog(t *testing.T) {
	onEveryLog(t, map[string]func(*coming, *testing.T, string){
		"RE-01 RE-02 exactly what was missed":    missedMuch,
		"RE-01 nothing was missed":               missedNothing,
		"RE-01 RE-02 from a channel without any": fromNothing,
		"RE-02 what was acknowledged just now":   justNow,
		"RE-02 a place where the log ended":      ended,
		"RE-05 failures":                         refusedPlaces,
		"RW-01 RW-02 rewinds and snapshots":      rewound,
	})
}

// onEveryLog runs cases on each log, each with its own channel.
func onEveryLog(t *testing.T, cases map[string]func(*coming, *testing.T, string)) {
	for _, log := range comings {
		t.Run(log.name, func(t *testing.T) {
			t.Parallel()
			c := log.start(t)
			for name, run := range cases {
				t.Run(name, func(t *testing.T) {
					one := *c
					one.t = t
					run(&one, t, strings.Map(func(r rune) rune {
						if r == ' ' {
							return '_'
						}
						return r
					}, name))
				})
			}
		})
	}
}

func missedMuch(c *coming, t *testing.T, channel string) {
	c.follow(channel)
	left := c.away(channel, 5).at(channel)
	flood(t, c.there, c.app, channel, 6, 1505)
	n := 1505
	c.everywhere(func(where, gate string) {
		for _, early := range []bool{false, true} {
			p := c.from(channel, left)
			p.early = early
			v := p.come(t, gate)
			n++
			flood(t, c.there, c.app, channel, n, n)
			eventually(t, where+": the live event has come", func() bool { return len(p.has(channel)) >= n-5 })
			if diff := cmp.Diff(upTo(6, n), p.has(channel)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", where, diff)
			}
			p.fine(t, where)
			v.leave()
		}
	})
}

func missedNothing(c *coming, t *testing.T, channel string) {
	c.follow(channel)
	left := c.away(channel, 5).at(channel)
	n := 5
	c.everywhere(func(where, gate string) {
		p := c.from(channel, left)
		v := p.come(t, gate)
		n++
		flood(t, c.there, c.app, channel, n, n)
		eventually(t, where+": the live event has come", func() bool { return len(p.has(channel)) >= 1 })
		if diff := cmp.Diff(upTo(n, n), p.has(channel)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", where, diff)
		}
		p.fine(t, where)
		left = p.at(channel)
		v.leave()
	})
}

// fromNothing resumes from a channel without events, while other channels have some.
func fromNothing(c *coming, t *testing.T, channel string) {
	flood(t, c.here, c.app, "other_"+channel, 1, 30)
	for _, missed := range []int{0, 3} {
		var lefts []place
		names := []string{fmt.Sprint(channel, missed, "a"), fmt.Sprint(channel, missed, "b"), fmt.Sprint(channel, missed, "c")}
		for _, name := range names {
			lefts = append(lefts, c.away(name, 0).at(name))
			flood(t, c.here, c.app, "other_"+channel, 1, 5)
			flood(t, c.here, c.app, name, 1, missed)
		}
		i := 0
		c.everywhere(func(where, gate string) {
			name := names[i]
			p := c.from(name, lefts[i])
			i++
			v := p.come(t, gate)
			flood(t, c.there, c.app, name, missed+1, missed+1)
			eventually(t, where+": the live event has come", func() bool { return len(p.has(name)) >= missed+1 || len(p.refused(name)) > 0 })
			if diff := cmp.Diff(upTo(1, missed+1), p.has(name)); diff != "" {
				t.Errorf("%s, from %+v (-want +got):\n%s", where, lefts[i-1], diff)
			}
			p.fine(t, where)
			v.leave()
		})
	}
}

// ended: in a channel without events, a client's position is the end of the log when the channel was
// followed. A gateway that has another position, because it knows an earlier end, accepts it.
func ended(c *coming, t *testing.T, channel string) {
	for i := range 3 {
		name, early := fmt.Sprint(channel, i), fmt.Sprint(channel, i, "early")
		newPilgrim(c.app, early).come(t, c.there).leave() // the gateway caches the end of the log for a second
		flood(t, c.here, c.app, "other_"+channel, 1, 50)
		left := newPilgrim(c.app, name)
		left.come(t, c.join()).leave()
		p, b := c.from(name, left.at(name)), newBrowser(c.app, name)
		v := p.come(t, c.there)
		exact, _ := pusher.ExactPlace(left.at(name).Serial, left.at(name).ID)
		b.places[name], b.last = place{left.at(name).Stream, exact, ""}, fmt.Sprintf("%s:%d", left.at(name).Stream, exact)
		r := b.come(t, c.there)
		flood(t, c.here, c.app, name, 1, 2)
		for what, d := range map[string]*diary{"a socket": &p.diary, "a reader": &b.diary} {
			eventually(t, what+" has what was published", func() bool { return d.count(name) >= 2 })
			if diff := cmp.Diff(upTo(1, 2), d.has(name)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
			d.fine(t, what)
		}
		v.leave()
		r.leave()
	}
}

// justNow resumes from a position that a replica of the log may not have yet.
func justNow(c *coming, t *testing.T, channel string) {
	gates := []string{c.here, c.there, c.join()}
	p := newPilgrim(c.app, channel)
	for i := range 60 {
		p.early = i%2 == 0
		v := p.come(t, gates[i%3])
		flood(t, gates[(i+1)%3], c.app, channel, i+1, i+1)
		eventually(t, "the event has come", func() bool { return len(p.has(channel)) > i })
		v.leave()
	}
	if diff := cmp.Diff(upTo(1, 60), p.has(channel)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p.fine(t, "from gateway to gateway")
}

func refusedPlaces(c *coming, t *testing.T, channel string) {
	c.follow(channel)
	evicted := c.away(channel, 5).at(channel)
	flood(t, c.there, c.app, channel, 6, 6+keptEvents)
	newest := newPilgrim(c.app, channel)
	newest.come(t, c.here).leave()
	last := newest.at(channel)
	c.everywhere(func(where, gate string) {
		p := c.from(channel, evicted)
		v := p.come(t, gate)
		eventually(t, where+": what was missed came, or why not", func() bool { return len(p.has(channel)) > keptEvents || len(p.refused(channel)) > 0 })
		v.leave()
		// Gateways that followed the channel still have events that the log has evicted.
		if gaps := p.refused(channel); len(gaps) == 0 {
			if diff := cmp.Diff(upTo(6, 6+keptEvents), p.has(channel)); diff != "" || where == "a new gateway" {
				t.Errorf("%s, evicted (-want +got):\n%s", where, diff)
			}
		} else if gaps[0].code != "position_expired" || len(p.has(channel)) > 0 {
			t.Errorf("%s, evicted: got %+v and %d events", where, gaps, len(p.has(channel)))
		}
		for _, bad := range []struct {
			name string
			at   place
			code string
		}{
			{"the beginning", place{Stream: last.Stream}, "position_expired"},
			{"another stream", place{Stream: "another", Serial: last.Serial}, "stream_reset"},
			{"no stream", place{Serial: last.Serial}, "continuity_unverifiable"},
			{"above the newest", place{Stream: last.Stream, Serial: last.Serial + 1_000_000}, "continuity_unverifiable"},
			{"far above the newest", place{Stream: last.Stream, Serial: 1<<53 - 1}, "continuity_unverifiable"},
		} {
			p := c.from(channel, bad.at)
			p.come(t, gate).leave()
			if bad.at.Serial == 0 && bad.code == "position_expired" && where != "a new gateway" && len(p.refused(channel)) == 0 {
				// Gateways that followed the channel from its beginning still have these events.
				if diff := cmp.Diff(upTo(1, 6+keptEvents), p.has(channel)); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", where, bad.name, diff)
				}
				continue
			}
			if gaps := p.refused(channel); len(gaps) != 1 || gaps[0].code != bad.code || len(p.has(channel)) > 0 || len(p.wrong) > 0 {
				t.Errorf("%s, %s: got %+v and %d events, wrong %v; want %s", where, bad.name, gaps, len(p.has(channel)), p.wrong, bad.code)
			}
		}
	})
}

// rewinds returns a client that subscribed with a rewind. On a busy machine the log may not be read in time;
// then the client tries again.
func rewinds(c *coming, t *testing.T, gate, channel, form, ends string) *peer {
	t.Helper()
	for {
		p := dialV2(t, gate, c.app)
		p.say(`{"event":"sockudo:subscribe","data":{"channel":%q,"rewind":%s}}`, channel, form)
		refused := func() []message { return p.all("sockudo:subscription_error", channel) }
		eventually(t, "the subscription is answered", func() bool { return len(p.all(ends, ""))+len(refused()) > 0 })
		if len(refused()) == 0 {
			return p
		}
		if text := refused()[0].text; !strings.Contains(text, "503") {
			t.Fatalf("%s is refused: %s", form, text)
		}
		p.close()
	}
}

func rewound(c *coming, t *testing.T, channel string) {
	c.follow(channel)
	var seen []*pilgrim
	for _, gate := range []string{c.here, c.there} {
		p := newPilgrim(c.app, channel)
		defer p.come(t, gate).leave()
		seen = append(seen, p)
	}
	flood(t, c.here, c.app, channel, 1, 40)
	for _, p := range seen {
		eventually(t, "the gateways have what was published", func() bool { return len(p.has(channel)) == 40 })
	}
	c.everywhere(func(where, gate string) {
		for form, want := range map[string]struct {
			events []string
			ends   string
		}{
			`20`:              {upTo(21, 40), "sockudo:rewind_complete"},
			`{"seconds":600}`: {upTo(1, 40), "sockudo:rewind_complete"},
			`{"count":1000}`:  {upTo(1, 40), "sockudo:rewind_complete"},
			`{"latest":true}`: {upTo(40, 40), "sockudo:snapshot_complete"},
		} {
			p := rewinds(c, t, gate, channel, form, want.ends)
			end := p.await(want.ends, "")
			var got []string
			for _, m := range p.all("tick", channel) {
				got = append(got, m.str())
			}
			if !slices.Equal(got, want.events) {
				t.Errorf("%s, %s: got %q, want %q; %s", where, form, got, want.events, end.text)
			}
			p.close()
		}
	})
}
