package brokertest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testEviction(t *testing.T, b *backend) {
	app := b.Apps[0]

	t.Run("the oldest publications of a channel go first", func(t *testing.T) {
		channel, other := b.fresh(), b.fresh()
		kept := publish(t, b.Log, app, other, "kept")[0]
		const excess = 10
		positions := fill(t, b, channel, b.MaxMessages+excess)
		newest := positions[len(positions)-1]
		r := settle(t, b.Log, app, channel, newest)
		if r.Messages != uint64(b.MaxMessages) || r.Oldest != positions[excess].Offset {
			t.Errorf("got %d messages from offset %d, want %d from %d",
				r.Messages, r.Oldest, b.MaxMessages, positions[excess].Offset)
		}
		page := read(t, b.Log, app, channel, broker.Query{Limit: 1000})
		if diff := cmp.Diff(offsetsOf(page.Publications), offsets(positions[excess:])); diff != "" {
			t.Errorf("in history (-) and expected (+):\n%s", diff)
		}
		for name, pos := range map[string]broker.Position{
			"the first":            positions[0],
			"one before the last":  positions[excess-2],
			"the very beginning":   {Epoch: newest.Epoch},
			"between two of these": {Epoch: newest.Epoch, Offset: positions[excess-3].Offset},
		} {
			_, err := b.Log.After(t.Context(), app, channel, pos, 10)
			if !errors.Is(err, broker.ErrPositionExpired) {
				t.Errorf("after %s of what was evicted: got %v, want ErrPositionExpired", name, err)
			}
		}
		rest := after(t, b.Log, app, channel, positions[excess], 1000)
		if diff := cmp.Diff(offsetsOf(rest.Publications), offsets(positions[excess+1:])); diff != "" {
			t.Errorf("after the oldest retained one, got (-) and want (+):\n%s", diff)
		}
		if got := settle(t, b.Log, app, other, kept).Messages; got != 1 {
			t.Errorf("another channel holds %d publications, want 1", got)
		}
	})

	t.Run("what is known to be gone is told, and nothing else", func(t *testing.T) { testLost(t, b) })

	t.Run("a sink that is far behind gets everything or is told what is missing", func(t *testing.T) {
		channel := b.fresh()
		release := make(chan struct{})
		slow := newRecorder()
		slow.hold = release
		at := attachSink(t, b.Log, app, channel, slow)
		positions := fill(t, b, channel, 2*b.MaxMessages+100)
		close(release)
		newest := positions[len(positions)-1].Offset
		eventually(t, "the slow sink sees the newest publication", func() bool {
			pubs := slow.got()
			return len(pubs) > 0 && pubs[len(pubs)-1].Offset == newest
		})
		slow.mu.Lock()
		gaps := slow.gaps
		slow.mu.Unlock()
		missing := func(offset uint64) bool {
			for _, g := range gaps {
				if g.After.Offset < offset && offset <= g.Resume.Offset {
					return true
				}
			}
			return false
		}
		delivered := map[uint64]bool{}
		last := at.Position().Offset
		for _, p := range slow.got() {
			if p.Offset <= last {
				t.Errorf("offset %d follows %d", p.Offset, last)
			}
			if missing(p.Offset) {
				t.Errorf("offset %d was delivered and called missing", p.Offset)
			}
			delivered[p.Offset] = true
			last = p.Offset
		}
		for _, p := range positions {
			if !delivered[p.Offset] && !missing(p.Offset) {
				t.Errorf("offset %d was neither delivered nor called missing", p.Offset)
			}
		}
		for _, g := range gaps {
			if g.Reason == "" {
				t.Errorf("a gap has no reason: %+v", g)
			}
		}
	})

	t.Run("a channel that was emptied goes on", func(t *testing.T) {
		if b.Evict == nil {
			t.Skip("the backend cannot be made to evict a whole channel")
		}
		channel := b.fresh()
		sink, _ := attach(t, b.Log, app, channel)
		positions := publish(t, b.Log, app, channel, number(5)...)
		sink.await(t, positions[4].Offset)
		settle(t, b.Log, app, channel, positions[4])
		b.Evict(t, app, channel)
		eventually(t, "the channel is empty", func() bool {
			r, err := b.Log.Retained(t.Context(), app, channel)
			if err != nil {
				t.Fatal(err)
			}
			return r == broker.Retained{Epoch: positions[0].Epoch}
		})
		for _, pos := range []broker.Position{{Epoch: positions[0].Epoch}, positions[0], positions[3]} {
			_, err := b.Log.After(t.Context(), app, channel, pos, 10)
			if !errors.Is(err, broker.ErrPositionExpired) {
				t.Errorf("after offset %d: got %v, want ErrPositionExpired", pos.Offset, err)
			}
		}
		late, at := attach(t, b.Log, app, channel)
		next := publish(t, b.Log, app, channel, "next", "last")
		if next[0].Offset <= positions[4].Offset {
			t.Errorf("offset %d was used again after %d", next[0].Offset, positions[4].Offset)
		}
		pubs := sink.await(t, next[1].Offset)
		if diff := cmp.Diff(offsetsOf(pubs), append(offsets(positions), offsets(next)...)); diff != "" {
			t.Errorf("the old attachment got (-) and should have (+):\n%s", diff)
		}
		if diff := cmp.Diff(offsetsOf(late.await(t, next[1].Offset)), offsets(next)); diff != "" {
			t.Errorf("the new attachment got (-) and should have (+):\n%s", diff)
		}
		if at.Position().Offset >= next[0].Offset {
			t.Errorf("the new attachment is at %d, before %d was stored", at.Position().Offset, next[0].Offset)
		}
		// The removed events lie below the position, so a resume from it is complete.
		settle(t, b.Log, app, channel, next[1])
		page := after(t, b.Log, app, channel, at.Position(), 10)
		if diff := cmp.Diff(offsetsOf(page.Publications), offsets(next)); diff != "" {
			t.Errorf("after the position of the new attachment, got (-) and want (+):\n%s", diff)
		}
	})
}

// testLost checks that Lost distinguishes a channel that lost events from one that did not, in the same log.
func testLost(t *testing.T, b *backend) {
	app, full, whole := b.Apps[0], b.fresh(), b.fresh()
	check := func(what, channel string, since time.Time, want bool) {
		t.Helper()
		got, err := b.Log.Lost(t.Context(), app, channel, since)
		if err != nil || got != want {
			t.Errorf("%s, since %v: got %t, %v, want %t", what, since, got, err, want)
		}
	}
	ago := time.Now().Add(-time.Minute)
	all := fill(t, b, full, b.MaxMessages)
	settle(t, b.Log, app, whole, fill(t, b, whole, 5)[4])
	all = append(all, fill(t, b, full, 5)...)
	oldest := settle(t, b.Log, app, full, all[len(all)-1]).OldestTime
	check("a channel that lost its first events", full, time.Time{}, true)
	check("a channel that lost its first events", full, ago, true)
	check("a channel that lost its first events", full, oldest.Add(time.Nanosecond), false)
	for _, since := range []time.Time{{}, ago} {
		check("a channel that lost nothing", whole, since, false)
		check("a channel without events", b.fresh(), since, false)
	}
	eraser, ok := b.Log.(broker.Eraser)
	if !ok {
		return
	}
	newest := fill(t, b, whole, 1)[0]
	settle(t, b.Log, app, whole, newest)
	if _, err := eraser.Purge(t.Context(), app, whole, newest.Offset); err != nil {
		t.Fatal(err)
	}
	check("a channel that was purged", whole, time.Time{}, true)
}

// fill publishes n events in a few calls.
func fill(t *testing.T, b *backend, channel string, n int) []broker.Position {
	t.Helper()
	deadline := time.Now().Add(Patience)
	var positions []broker.Position
	for len(positions) < n {
		if time.Now().After(deadline) {
			t.Fatalf("publishing %d events took longer than %v", n, Patience)
		}
		out := make([]broker.Outgoing, min(50, n-len(positions)))
		for i := range out {
			out[i] = broker.Outgoing{Channel: channel, Event: text("x")}
		}
		receipts, err := b.Log.Publish(t.Context(), b.Apps[0], out...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range receipts {
			positions = append(positions, r.Position)
		}
	}
	return positions
}
