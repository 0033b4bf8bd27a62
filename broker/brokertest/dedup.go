package brokertest

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testDedup(t *testing.T, b *backend) {
	app := b.Apps[0]
	event := func(id, data string) *broker.Event {
		ev := text(data)
		ev.DedupID = id
		return ev
	}

	t.Run("an id is stored and delivered once and the receipt names the original", func(t *testing.T) {
		channel := b.fresh()
		sink, _ := attach(t, b.Log, app, channel)
		first := publishEvent(t, b.Log, app, channel, event("once", "first"))
		again := publishEvent(t, b.Log, app, channel, event("once", "second"))
		other := publishEvent(t, b.Log, app, channel, event("twice", "third"))
		if first.Duplicate || other.Duplicate {
			t.Errorf("an event with a new id was called a duplicate: %+v, %+v", first, other)
		}
		if want := (broker.Receipt{Position: first.Position, Duplicate: true}); again != want {
			t.Errorf("receipt of the duplicate: got %+v, want %+v", again, want)
		}
		want := []string{"first", "third"}
		if diff := cmp.Diff(dataOf(sink.await(t, other.Offset)), want); diff != "" {
			t.Errorf("delivered (-) and expected (+):\n%s", diff)
		}
		settle(t, b.Log, app, channel, other.Position)
		page := read(t, b.Log, app, channel, broker.Query{Limit: 10})
		if diff := cmp.Diff(dataOf(page.Publications), want); diff != "" {
			t.Errorf("in history (-) and expected (+):\n%s", diff)
		}
	})

	t.Run("an id twice in one call is stored once", func(t *testing.T) {
		channel := b.fresh()
		rs, err := b.Log.Publish(t.Context(), app,
			broker.Outgoing{Channel: channel, Event: event("same-call", "a")},
			broker.Outgoing{Channel: channel, Event: event("same-call", "b")})
		if err != nil {
			t.Fatal(err)
		}
		if rs[0].Duplicate || !rs[1].Duplicate || rs[0].Position != rs[1].Position {
			t.Errorf("got %+v, want the second to be a duplicate of the first", rs)
		}
		if got := settle(t, b.Log, app, channel, rs[0].Position).Messages; got != 1 {
			t.Errorf("%d publications are retained, want 1", got)
		}
	})

	t.Run("an id belongs to the app, not to the channel", func(t *testing.T) {
		one, two := b.fresh(), b.fresh()
		first := publishEvent(t, b.Log, app, one, event("app-wide", "a"))
		again := publishEvent(t, b.Log, app, two, event("app-wide", "a"))
		if want := (broker.Receipt{Position: first.Position, Duplicate: true}); again != want {
			t.Errorf("in another channel: got %+v, want %+v", again, want)
		}
		if got := publishEvent(t, b.Log, b.Apps[1], one, event("app-wide", "a")); got.Duplicate {
			t.Error("another app's event was called a duplicate")
		}
	})

	t.Run("events without an id are never duplicates", func(t *testing.T) {
		channel := b.fresh()
		a := publishEvent(t, b.Log, app, channel, text("same"))
		c := publishEvent(t, b.Log, app, channel, text("same"))
		if a.Duplicate || c.Duplicate || a.Offset == c.Offset {
			t.Errorf("got %+v and %+v", a, c)
		}
	})

	t.Run("a message id alone does not make a duplicate", func(t *testing.T) {
		channel := b.fresh()
		ev := text("same")
		ev.MessageID = "chosen"
		a := publishEvent(t, b.Log, app, channel, ev)
		c := publishEvent(t, b.Log, app, channel, ev)
		if a.Duplicate || c.Duplicate || a.Offset == c.Offset {
			t.Errorf("got %+v and %+v", a, c)
		}
	})

	t.Run("publishers at the same time store an id once", func(t *testing.T) {
		channel := b.fresh()
		const publishers = 8
		receipts := make([]broker.Receipt, publishers)
		errs := make([]error, publishers)
		var wg sync.WaitGroup
		for i := range publishers {
			wg.Go(func() {
				rs, err := b.Log.Publish(t.Context(), app,
					broker.Outgoing{Channel: channel, Event: event("race", "x")})
				if errs[i] = err; err == nil {
					receipts[i] = rs[0]
				}
			})
		}
		wg.Wait()
		originals := 0
		for i, r := range receipts {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if r.Position != receipts[0].Position {
				t.Errorf("receipts name %+v and %+v", r.Position, receipts[0].Position)
			}
			if !r.Duplicate {
				originals++
			}
		}
		if originals != 1 {
			t.Errorf("%d receipts claim to be the original, want 1", originals)
		}
	})
}
