package fanout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestDS30WhatWasLostDuringAResumeIsNoBase: a client that resumes with its bases, and reports before they
// were looked up that it has lost them, holds none. Before, many publications that its filter drops moved
// back the offset up to which it holds no base.
func TestDS30WhatWasLostDuringAResumeIsNoBase(t *testing.T) {
	s := newStage(false, 64, 1, 100)
	c := s.channels[0]
	past := &pastOf{epoch: "e", waiting: map[*Way]bool{}, read: map[*Way]bool{}}
	c.Past = past
	list := &c.Shards[0]
	list.Begin(broker.Position{Epoch: "e"}, false)
	publish := func(name, key string) {
		s.offset++
		p := c.prepare(&broker.Publication{
			Event: broker.Event{
				Name: name, ConflationKey: key, HasKey: true, Data: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, s.offset, strings.Repeat("steady ", 60)),
			},
			Position: broker.Position{Epoch: "e", Offset: s.offset}, Prev: s.offset - 1, Time: s.now,
		})
		past.events, past.high = append(past.events, p), s.offset
		list.wants(p)
		p.deliver(s.shard, list)
	}
	sock := s.shard.Open(nil, s.kind)
	out := sock.Outbox()
	filter, err := pusher.ParseFilter(`{"events":["tick"]}`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxHoles + 1 {
		publish("tock", fmt.Sprint(i))
	}
	publish("tick", "a")
	had := s.offset
	list.Put(&Entry{Sock: sock, Form: V2 | Delta | Keyed, Filter: filter, Greet: func(Start) {}})
	w := &Way{Line: c.Line, Shard: s.shard, Out: out, Epoch: "e", Place: had, Ends: Silently{}}
	if !list.Resume(w, had, 0, true) || !w.Kept {
		t.Fatal("it was not resumed with its bases")
	}
	list.Forget(out)
	s.shard.goOn(job{to: list, behind: out})
	for len(s.shard.loop.behind[out]) > 0 {
		s.shard.loop.past = roundPast
		s.shard.CatchUp(out)
	}
	if !w.Kept || list.list[0].state != live {
		t.Fatalf("it is %s, with its bases: %v", list.list[0].state, w.Kept)
	}
	publish("tick", "a")
	frames, _ := out.Take(nil)
	if len(frames) != 1 {
		t.Fatalf("got %d frames", len(frames))
	}
	var m message
	if err := json.Unmarshal(frames[0].Payload(), &m); err != nil || m.Event != "tick" {
		t.Errorf("it gets %s, want the full frame", frames[0].Payload())
	}
}

// TestHolesKeepNoPublicationAlive: the conflation value that a subscription remembers is a copy, which does
// not keep the data of a publication alive.
func TestHolesKeepNoPublicationAlive(t *testing.T) {
	x := newSubject(t, Delta|Keyed)
	check := func(when string, p *Event) {
		t.Helper()
		holes := x.list.details[x.sub.out].holes
		if len(holes) != 1 {
			t.Fatalf("%s there are %d holes", when, len(holes))
		}
		for key := range holes {
			if key != p.Key || unsafe.StringData(key) == unsafe.StringData(p.Key) {
				t.Errorf("%s it remembers %q, which is a part of a publication", when, key)
			}
		}
	}
	p := x.publication("tock", "value")
	x.list.missed(x.sub, p)
	check("having missed one,", p)
	x.list.fallBehind(x.sub, x.publication("tick", "value"))
	late := x.publication("tick", "value")
	x.list.fallBehind(x.sub, late)
	x.list.caughtUp(x.sub, late)
	check("having got one late,", late)
}
