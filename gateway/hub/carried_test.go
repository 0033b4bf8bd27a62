package hub

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// loads returns changes that make an event carry 15 KiB beside its one byte of data.
func loads() map[string]func(*broker.Event) {
	text := strings.Repeat("x", 15<<10)
	return map[string]func(*broker.Event){
		"extras": func(ev *broker.Event) { ev.Extras = []byte(`{"x":"` + text + `"}`) },
		"tags":   func(ev *broker.Event) { ev.Tags = map[string]string{"a": text} },
	}
}

// TestRE05MissedBytesAreAllThatEventsCarry: extras and tags count in the bytes that a client may have missed,
// both in memory and where the log is read.
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
				ch.recent.Begin(m.StreamID, ch.recent.High()) // This empties the channel's memory.
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
			for ; m.Event == "tick"; m = q.next() { // Events that memory held for the previous subscriber may come first.
				came++
			}
			var got failure
			if m.inner(t, &got); got.Code != "position_expired" || came > 35 {
				t.Errorf("%s, cold %t: 600 KiB were missed and 512 may be: %+v after %d events", name, cold, got, came)
			}
		}
	}
}

// TestTime02WhatIsKeptIsBoundedByAllThatEventsCarry: extras and tags count in the bytes that are kept in
// memory of a channel.
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
