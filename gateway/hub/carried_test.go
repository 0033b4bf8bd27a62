package hub

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// loads are events of one byte of data that carry 15 KiB beside it.
func loads() map[string]func(*broker.Event) {
	text := strings.Repeat("x", 15<<10)
	return map[string]func(*broker.Event){
		"extras": func(ev *broker.Event) { ev.Extras = []byte(`{"x":"` + text + `"}`) },
		"tags":   func(ev *broker.Event) { ev.Tags = map[string]string{"a": text} },
	}
}

// More than may be missed is more, whatever it is that the events carry: in memory, and where the
// log is read.
func TestRE05MissedBytesAreAllThatEventsCarry(t *testing.T) {
	for name, load := range loads() {
		for _, cold := range []bool{false, true} {
			r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Recovery.MaxBytes = 512 << 10 })
			first, _ := r.second()
			m := first.join("orders", "")
			r.publishMany("orders", 1, 30, load)
			first.events(30)
			if cold {
				first.hangUp()
				r.hub.mu.Lock()
				ch := r.hub.channels[channelKey{"app", "orders"}]
				r.hub.mu.Unlock()
				ch.recent.Begin(m.StreamID, ch.recent.High()) // Memory lets go of it.
			}
			at := m.Serial
			p, _ := r.second()
			p.join("orders", "")
			p.from("orders", m.StreamID, at, "")
			p.events(30)
			p.summary()
			r.publishMany("orders", 31, 40, load)
			p.events(10)
			q, _ := r.second()
			q.join("orders", "")
			q.from("orders", m.StreamID, at, "")
			came := 0
			m = q.next()
			for ; m.Event == "tick"; m = q.next() { // What was in memory for the one before may come first.
				came++
			}
			var got failure
			if m.inner(t, &got); got.Code != "position_expired" || came > 35 {
				t.Errorf("%s, cold %t: 600 KiB were missed and 512 may be: %+v after %d events", name, cold, got, came)
			}
		}
	}
}

// What is kept in memory of a channel stays within its bytes.
func TestTime02WhatIsKeptIsBoundedByAllThatEventsCarry(t *testing.T) {
	for name, load := range loads() {
		r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) {
			a.Recovery.MaxBytes = 512 << 10
			a.Snapshots = []app.SnapshotPattern{{Match: "orders", Snapshot: app.Snapshot{On: true}}}
		})
		p, _ := r.second()
		p.join("orders", "")
		p.want("sockudo:snapshot_complete")
		before := r.hub.library.Bytes.Load()
		r.publishMany("orders", 1, 60, load)
		p.events(60)
		kept := r.hub.library.Bytes.Load() - before
		if least, most := int64(200<<10), int64(700<<10); kept < least || kept > most {
			t.Errorf("%s: %d bytes are counted of a channel that may keep 512 KiB, besides its newest event", name, kept)
		}
	}
}
