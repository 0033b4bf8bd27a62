package brokertest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testAfter(t *testing.T, b *backend) {
	app := b.Apps[0]
	channel := b.fresh()
	var positions []broker.Position
	for _, d := range number(30) {
		positions = append(positions, publish(t, b.Log, app, channel, d)...)
		publish(t, b.Log, app, "noise", d)
	}
	newest := positions[29]
	settle(t, b.Log, app, channel, newest)
	all := offsets(positions)

	t.Run("after each position comes the rest", func(t *testing.T) {
		for i, pos := range positions {
			page := after(t, b.Log, app, channel, pos, 1000)
			if diff := cmp.Diff(offsetsOf(page.Publications), all[i+1:]); diff != "" {
				t.Errorf("after publication %d, got (-) and want (+):\n%s", i, diff)
			}
			if page.More {
				t.Errorf("after publication %d: More is true", i)
			}
		}
	})

	t.Run("a limit cuts and says so", func(t *testing.T) {
		for _, c := range []struct {
			after, limit int
			more         bool
		}{{0, 1, true}, {0, 10, true}, {0, 28, true}, {0, 29, false}, {0, 30, false}, {19, 9, true}, {19, 10, false}, {28, 1, false}, {29, 1, false}} {
			page := after(t, b.Log, app, channel, positions[c.after], c.limit)
			want := all[c.after+1:]
			want = want[:min(len(want), c.limit)]
			if diff := cmp.Diff(offsetsOf(page.Publications), want); diff != "" {
				t.Errorf("after %d, limit %d, got (-) and want (+):\n%s", c.after, c.limit, diff)
			}
			if page.More != c.more {
				t.Errorf("after %d, limit %d: More is %v, want %v", c.after, c.limit, page.More, c.more)
			}
			if page.Retained.Newest != newest.Offset || page.Retained.Messages != 30 {
				t.Errorf("Retained of the page: %+v", page.Retained)
			}
		}
	})

	t.Run("pages chained by position give everything", func(t *testing.T) {
		var seen []uint64
		pos := positions[0]
		for {
			page := after(t, b.Log, app, channel, pos, 4)
			seen = append(seen, offsetsOf(page.Publications)...)
			if !page.More {
				break
			}
			pos = page.Publications[len(page.Publications)-1].Position
		}
		if diff := cmp.Diff(seen, all[1:]); diff != "" {
			t.Errorf("seen (-) and want (+):\n%s", diff)
		}
	})

	t.Run("position 0 gives everything while nothing was evicted", func(t *testing.T) {
		page := after(t, b.Log, app, channel, broker.Position{Epoch: newest.Epoch}, 1000)
		if diff := cmp.Diff(offsetsOf(page.Publications), all); diff != "" {
			t.Errorf("got (-) and want (+):\n%s", diff)
		}
		page = after(t, b.Log, app, b.fresh(), broker.Position{Epoch: newest.Epoch}, 10)
		if len(page.Publications) != 0 || page.More {
			t.Errorf("an unused channel: got %v and More %v", offsetsOf(page.Publications), page.More)
		}
	})

	t.Run("a position of another epoch is refused", func(t *testing.T) {
		for _, pos := range []broker.Position{
			{Epoch: "another", Offset: positions[3].Offset},
			{Epoch: "another"},
			{Offset: positions[3].Offset},
		} {
			_, err := b.Log.After(t.Context(), app, channel, pos, 10)
			if !errors.Is(err, broker.ErrEpochChanged) {
				t.Errorf("%+v: got %v, want ErrEpochChanged", pos, err)
			}
		}
	})

	t.Run("a position ahead of the log is refused", func(t *testing.T) {
		for _, ahead := range []uint64{1000, 1 << 40} {
			pos := broker.Position{Epoch: newest.Epoch, Offset: newest.Offset + ahead}
			_, err := b.Log.After(t.Context(), app, channel, pos, 10)
			if !errors.Is(err, broker.ErrPositionUnknown) {
				t.Errorf("%d ahead: got %v, want ErrPositionUnknown", ahead, err)
			}
		}
	})

	t.Run("a resume that starts at what the feed delivered last misses nothing", func(t *testing.T) {
		channel := b.fresh()
		sink, at := attach(t, b.Log, app, channel)
		mid := publish(t, b.Log, app, channel, number(10)...)[9]
		seen := sink.await(t, mid.Offset)
		at.Detach()
		rest := publish(t, b.Log, app, channel, number(10)...)
		settle(t, b.Log, app, channel, rest[9])
		page := after(t, b.Log, app, channel, seen[len(seen)-1].Position, 100)
		if diff := cmp.Diff(offsetsOf(page.Publications), offsets(rest)); diff != "" {
			t.Errorf("got (-) and published meanwhile (+):\n%s", diff)
		}
	})
}
