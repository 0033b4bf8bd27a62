package lives_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/gateway/sight"
)

// lagging is a log that is read from a replica which has not seen a removal.
type lagging struct {
	*memory.Log
	// empty makes its leader report an empty channel.
	empty bool
}

func (l *lagging) Purge(context.Context, string, string, uint64) (broker.Erased, error) {
	return broker.Erased{Messages: 1}, nil
}

func (l *lagging) Retained(ctx context.Context, app, channel string) (broker.Retained, error) {
	now, err := l.Log.Retained(ctx, app, channel)
	if l.empty {
		now = broker.Retained{Epoch: now.Epoch}
	}
	return now, err
}

// TestTime01ACopyThatLagsShowsNothingOfAnEarlierLife: before, a lagging replica returned removed events under
// the new stream id to readers of pages, and a cache channel remembered one.
func TestTime01ACopyThatLagsShowsNothingOfAnEarlierLife(t *testing.T) {
	below := &lagging{Log: newRig(t).below}
	l, err := lives.New(t.Context(), below, newTable(), func() int { return 2 }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	old := publish(t, l, "app", "c", 6)
	done, err := l.Reset(t.Context(), "app", "c")
	if err != nil {
		t.Fatal(err)
	}
	log := sight.Log{History: l, Now: time.Now}
	remembers := func(to uint64) uint64 {
		t.Helper()
		p, err := log.Remembered(t.Context(), "app", "c", to)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return 0
		}
		return p.Offset
	}
	if got := remembers(old[5].Offset); got > 0 {
		t.Errorf("a cache channel remembers %d, which was removed", got)
	}
	fresh := publish(t, l, "app", "c", 3)
	if got := remembers(fresh[0].Offset); got != fresh[0].Offset {
		t.Errorf("a cache channel remembers %d, want %d", got, fresh[0].Offset)
	}
	check := func(channel string, q broker.Query, more bool, want ...broker.Position) {
		t.Helper()
		page, err := l.Read(t.Context(), "app", channel, q)
		if err != nil {
			t.Fatal(err)
		}
		var got []broker.Position
		for _, p := range page.Publications {
			got = append(got, p.Position)
		}
		if !slices.Equal(got, want) || page.More != more {
			t.Errorf("%s, %+v: got %v (more: %t), want %v (%t)", channel, q, got, page.More, want, more)
		}
	}
	if fresh[0].Epoch != done.Present {
		t.Fatalf("published in %q, want %q", fresh[0].Epoch, done.Present)
	}
	check("c", broker.Query{Limit: 2}, true, fresh[0], fresh[1])
	check("c", broker.Query{Limit: 10}, false, fresh...)
	check("c", broker.Query{Limit: 2, To: old[4].Offset}, false)
	check("c", broker.Query{Limit: 2, From: old[4].Offset, To: fresh[0].Offset}, false, fresh[0])
	check("c", broker.Query{Limit: 10, NewestFirst: true}, false, fresh[2], fresh[1], fresh[0])
	check("c", broker.Query{Limit: 2, NewestFirst: true}, true, fresh[2], fresh[1])
	check("c", broker.Query{Limit: 10, NewestFirst: true, To: old[5].Offset, Bare: true}, false)
	if _, err := l.Purge(t.Context(), "app", "c", fresh[1].Offset); err != nil {
		t.Fatal(err)
	}
	check("c", broker.Query{Limit: 1}, true, fresh[1])
	check("c", broker.Query{Limit: 10, NewestFirst: true}, false, fresh[2], fresh[1])
	// Events removed with NATS tools also belong to the old epoch.
	publish(t, l, "app", "d", 3)
	below.empty = true
	if _, err := l.Reset(t.Context(), "app", "d"); err != nil {
		t.Fatal(err)
	}
	below.empty = false
	next := publish(t, l, "app", "d", 1)
	check("d", broker.Query{Limit: 10}, false, next[0])
}
