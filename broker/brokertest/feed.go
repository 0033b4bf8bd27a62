package brokertest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testFeed(t *testing.T, b *backend) {
	app := b.Apps[0]

	t.Run("publications come in order, once, with what the receipts said", func(t *testing.T) {
		channel := b.fresh()
		sink, _ := attach(t, b.Log, app, channel)
		data := number(channelRoom)
		positions := publish(t, b.Log, app, channel, data...)
		pubs := sink.await(t, positions[len(positions)-1].Offset)
		if diff := cmp.Diff(offsetsOf(pubs), offsets(positions)); diff != "" {
			t.Errorf("offsets delivered (-) and in receipts (+):\n%s", diff)
		}
		if diff := cmp.Diff(dataOf(pubs), data); diff != "" {
			t.Errorf("data delivered (-) and published (+):\n%s", diff)
		}
	})

	t.Run("each publication names the one before it", func(t *testing.T) {
		channel, other := b.fresh(), b.fresh()
		before := publish(t, b.Log, app, channel, "retained")[0]
		sink, _ := attach(t, b.Log, app, channel)
		fresh := b.fresh()
		first, _ := attach(t, b.Log, app, fresh)
		var newest broker.Position
		for range 10 {
			publish(t, b.Log, app, other, "noise")
			newest = publish(t, b.Log, app, channel, "x")[0]
		}
		prev := before.Offset
		for _, p := range sink.await(t, newest.Offset) {
			if p.Offset == before.Offset {
				continue // the attachment may have begun below it
			}
			if p.Prev != prev {
				t.Errorf("publication %d says that %d was before it, want %d", p.Offset, p.Prev, prev)
			}
			prev = p.Offset
		}
		pos := publish(t, b.Log, app, fresh, "first")[0]
		if got := first.await(t, pos.Offset)[0].Prev; got != 0 {
			t.Errorf("the first publication of a channel says that %d was before it", got)
		}
	})

	t.Run("times do not go backwards and are near the present", func(t *testing.T) {
		channel := b.fresh()
		sink, _ := attach(t, b.Log, app, channel)
		positions := publish(t, b.Log, app, channel, number(10)...)
		pubs := sink.await(t, positions[9].Offset)
		for i, p := range pubs {
			if p.Time.IsZero() {
				t.Errorf("publication %d has no time", p.Offset)
			}
			if i > 0 && p.Time.Before(pubs[i-1].Time) {
				t.Errorf("time %v follows %v", p.Time, pubs[i-1].Time)
			}
		}
		settle(t, b.Log, app, channel, positions[9])
		for i, p := range read(t, b.Log, app, channel, broker.Query{Limit: 10}).Publications {
			if !p.Time.Equal(pubs[i].Time) {
				t.Errorf("time in history %v, in the feed %v", p.Time, pubs[i].Time)
			}
		}
	})

	t.Run("all attachments of a channel get everything", func(t *testing.T) {
		channel := b.fresh()
		var sinks []*recorder
		for range 5 {
			sink, _ := attach(t, b.Log, app, channel)
			sinks = append(sinks, sink)
		}
		positions := publish(t, b.Log, app, channel, number(20)...)
		for i, sink := range sinks {
			pubs := sink.await(t, positions[19].Offset)
			if diff := cmp.Diff(offsetsOf(pubs), offsets(positions)); diff != "" {
				t.Errorf("attachment %d got (-) and should have (+):\n%s", i, diff)
			}
		}
	})

	t.Run("after Detach nothing comes and the others go on", func(t *testing.T) {
		channel := b.fresh()
		gone, at := attach(t, b.Log, app, channel)
		stays, _ := attach(t, b.Log, app, channel)
		pos := publish(t, b.Log, app, channel, "for both")[0]
		gone.await(t, pos.Offset)
		at.Detach()
		at.Detach()
		late, _ := attach(t, b.Log, app, channel)
		newest := publish(t, b.Log, app, channel, number(10)...)[9]
		stays.await(t, newest.Offset)
		late.await(t, newest.Offset)
		if got := len(gone.got()); got != 1 {
			t.Errorf("the detached sink got %d publications, want 1", got)
		}
	})

	t.Run("a channel can be attached again after the last Detach", func(t *testing.T) {
		channel := b.fresh()
		for range 3 {
			sink, at := attach(t, b.Log, app, channel)
			pos := publish(t, b.Log, app, channel, "x")[0]
			sink.await(t, pos.Offset)
			at.Detach()
			publish(t, b.Log, app, channel, "unseen")
		}
	})

	t.Run("a slow sink loses nothing and holds up no publisher", func(t *testing.T) {
		channel := b.fresh()
		release := make(chan struct{})
		slow := newRecorder()
		slow.hold = release
		attachSink(t, b.Log, app, channel, slow)
		data := number(channelRoom)
		start := time.Now()
		positions := publish(t, b.Log, app, channel, data...)
		if took := time.Since(start); took > Patience {
			t.Errorf("publishing took %v while a sink was slow", took)
		}
		close(release)
		pubs := slow.await(t, positions[len(positions)-1].Offset)
		if diff := cmp.Diff(offsetsOf(pubs), offsets(positions)); diff != "" {
			t.Errorf("offsets delivered (-) and in receipts (+):\n%s", diff)
		}
	})
}
