package fanout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// subject is one subscription without a connection, for which the test does the work of a shard.
type subject struct {
	stage *stage
	list  *Subscribers
	sub   *subscription
}

func newSubject(t *testing.T, f Form) *subject {
	t.Helper()
	s := newStage(true, 64, 1, 100)
	filter, err := pusher.ParseFilter(`{"events":["tick"]}`)
	if err != nil {
		t.Fatal(err)
	}
	list := &s.channels[0].Shards[0]
	list.list = []subscription{{out: &socket.Outbox{}, form: f, filter: list.filters.use(filter)}}
	return &subject{stage: s, list: list, sub: &list.list[0]}
}

func (x *subject) publication(name, key string) *Event {
	x.stage.offset++
	p := x.stage.channels[0].prepare(&broker.Publication{
		Event: broker.Event{
			Name: name, ConflationKey: key, HasKey: true,
			Data: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, x.stage.offset, strings.Repeat("steady ", 60)),
		},
		Position: broker.Position{Epoch: "e", Offset: x.stage.offset}, Prev: x.stage.offset - 1, Time: x.stage.now,
	})
	for mode := range p.Bases {
		// The interval makes none of them full.
		p.Bases[mode].Full = false
	}
	return p
}

// get returns what the subscription gets of a publication if the socket accepts it.
func (x *subject) get(p *Event) string {
	base := x.list.base(x.sub, p)
	f, full := x.list.frame(x.sub, p)
	switch {
	case full == nil:
		return fmt.Sprintf("%d bare", p.Pub.Offset)
	case f == full:
		return fmt.Sprintf("%d full", p.Pub.Offset)
	}
	return fmt.Sprintf("%d from %d", p.Pub.Offset, p.Bases[x.sub.form.mode()].recent[base].Pub.Offset)
}

// step does one action and returns its result.
func (x *subject) step(what string) (got string) {
	action, key, _ := strings.Cut(what, " ")
	switch action {
	case "gap":
		at := broker.Position{Epoch: "e", Offset: x.stage.offset}
		(&gap{Gap: broker.Gap{After: at, Resume: at}}).passed(x.list)
		return "told"
	case "restart":
		x.list.restart(x.sub)
		return "nothing held"
	case "room":
		x.list.details[x.sub.out].queue.told()
		var all []string
		for _, p := range x.list.details[x.sub.out].queue.inOrder() {
			all = append(all, x.get(p))
			x.list.caughtUp(x.sub, p)
		}
		return strings.Join(all, ", ")
	}
	name, full := "tick", action == "refused"
	if action == "tock" {
		name = "tock"
	}
	p := x.publication(name, key)
	switch x.list.fate(x.sub, p) {
	case had:
		got = "had"
	case spared:
		x.list.missed(x.sub, p)
		got = "spared"
	case waits:
		x.list.fallBehind(x.sub, p)
		got = "waits"
	case due:
		if full {
			x.list.fallBehind(x.sub, p)
			got = "waits"
			break
		}
		got = x.get(p)
		x.list.received(x.sub, p)
	}
	p.passed(x.list)
	return got
}

func (x *subject) String() string {
	text := x.sub.state.String()
	d := x.list.details[x.sub.out]
	if d == nil {
		return text
	}
	var parts []string
	for key, offset := range d.holes {
		parts = append(parts, fmt.Sprintf("%s:%d", key, offset))
	}
	slices.Sort(parts)
	text += fmt.Sprintf(" holes %v", parts)
	parts = nil
	for _, p := range d.queue.inOrder() {
		parts = append(parts, fmt.Sprint(p.Pub.Offset))
	}
	return text + fmt.Sprintf(" queue %v skipped %d", parts, d.queue.skipped)
}

// TestRooms05WhatASubscriptionHoldsAndGets goes through the states of a subscription: what it gets of each
// publication, its state afterwards, and the bases it is known to hold.
func TestRooms05WhatASubscriptionHoldsAndGets(t *testing.T) {
	type step struct{ what, got, then string }
	for _, c := range []struct {
		name  string
		form  Form
		steps []step
	}{
		{"by conflation value", Delta | Keyed, []step{
			{"tick a", "1 full", "live"},
			{"tick a", "2 from 1", "live"},
			{"tock a", "spared", "live holes [a:2] queue [] skipped 0"},
			{"tock a", "spared", "live holes [a:2] queue [] skipped 0"},
			{"tick b", "5 full", "live holes [a:2] queue [] skipped 0"},
			{"tick a", "6 from 2", "live"},
			{"refused a", "waits", "behind holes [a:6] queue [7] skipped 0"},
			{"tick a", "waits", "behind holes [a:6] queue [8] skipped 1"},
			{"tick b", "waits", "behind holes [a:6 b:5] queue [8 9] skipped 1"},
			{"tock b", "spared", "behind holes [a:6 b:5] queue [8 9] skipped 1"},
			{"room", "8 from 6, 9 from 5", "live holes [a:8 b:9] queue [] skipped 0"},
			{"tick b", "11 from 9", "live holes [a:8] queue [] skipped 0"},
			{"tick a", "12 from 8", "live"},
		}},
		{"a single base", Delta, []step{
			{"tick a", "1 full", "live"},
			{"tick b", "2 from 1", "live"},
			{"refused a", "waits", "behind holes [:2] queue [3] skipped 0"},
			{"tick b", "waits", "behind holes [:2] queue [3 4] skipped 0"},
			{"room", "3 from 2, 4 from 3", "live holes [:4] queue [] skipped 0"},
			{"tick a", "5 from 4", "live"},
		}},
		{"without deltas", 0, []step{
			{"tick a", "1 bare", "live"},
			{"tock a", "spared", "live"},
			{"refused a", "waits", "behind holes [] queue [3] skipped 0"},
			{"room", "3 bare", "live"},
		}},
		{"a gap ends everything", Delta | Keyed, []step{
			{"tick a", "1 full", "live"},
			{"refused a", "waits", "behind holes [a:1] queue [2] skipped 0"},
			{"gap", "told", "live"},
			{"tick a", "3 full", "live"},
		}},
		{"one that holds nothing", Delta | Keyed, []step{
			{"tick a", "1 full", "live"},
			{"tock a", "spared", "live holes [a:1] queue [] skipped 0"},
			{"restart", "nothing held", "live"},
			{"tick a", "3 full", "live"},
			{"refused a", "waits", "behind holes [a:3] queue [4] skipped 0"},
			{"restart", "nothing held", "behind holes [] queue [4] skipped 0"},
			{"room", "4 full", "live holes [a:4] queue [] skipped 0"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newSubject(t, c.form)
			for i, s := range c.steps {
				if got := x.step(s.what); got != s.got || x.String() != s.then {
					t.Fatalf("step %d, %s: %s, then %s; want %s, then %s", i+1, s.what, got, x, s.got, s.then)
				}
			}
			if n := x.stage.hall.Sockets.Budget().Bytes(); x.sub.state == live && n != 0 {
				t.Errorf("nothing waits and %d bytes are held", n)
			}
		})
	}
}

// TestRooms05TooManyHoles: a subscription with more holes than are remembered holds no base.
func TestRooms05TooManyHoles(t *testing.T) {
	x := newSubject(t, Delta|Keyed)
	for i := range maxHoles {
		x.step(fmt.Sprint("tock ", i))
	}
	if n := len(x.list.details[x.sub.out].holes); n != maxHoles {
		t.Fatalf("%d holes are known, want %d", n, maxHoles)
	}
	if x.step("tock more"); x.String() != "live" {
		t.Errorf("it is %s", x)
	}
}
