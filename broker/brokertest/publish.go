package brokertest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testPublish(t *testing.T, b *backend) {
	app := b.Apps[0]

	t.Run("receipts are in the order of the events and name what was stored", func(t *testing.T) {
		channels := []string{b.fresh(), b.fresh(), b.fresh()}
		var out []broker.Outgoing
		for i, d := range number(12) {
			out = append(out, broker.Outgoing{Channel: channels[i%3], Event: text(d)})
		}
		receipts, err := b.Log.Publish(t.Context(), app, out...)
		if err != nil {
			t.Fatal(err)
		}
		if len(receipts) != len(out) {
			t.Fatalf("got %d receipts for %d events", len(receipts), len(out))
		}
		for c, channel := range channels {
			var want []string
			var at []uint64
			for i := c; i < len(out); i += 3 {
				want = append(want, string(out[i].Event.Data))
				at = append(at, receipts[i].Offset)
			}
			settle(t, b.Log, app, channel, receipts[len(out)-3+c].Position)
			page := read(t, b.Log, app, channel, broker.Query{Limit: 100})
			if diff := cmp.Diff(offsetsOf(page.Publications), at); diff != "" {
				t.Errorf("offsets in history (-) and in receipts (+) of channel %d:\n%s", c, diff)
			}
			if diff := cmp.Diff(dataOf(page.Publications), want); diff != "" {
				t.Errorf("data in history (-) and as published (+) of channel %d:\n%s", c, diff)
			}
		}
	})

	t.Run("offsets of a channel rise from call to call and fit in 53 bits", func(t *testing.T) {
		positions := publish(t, b.Log, app, b.fresh(), number(20)...)
		for i, p := range positions {
			if p.Offset == 0 || p.Offset >= 1<<53 {
				t.Errorf("offset %d is out of range", p.Offset)
			}
			if i > 0 && p.Offset <= positions[i-1].Offset {
				t.Errorf("offset %d follows %d", p.Offset, positions[i-1].Offset)
			}
		}
	})

	t.Run("the epoch is the same everywhere and well formed", func(t *testing.T) {
		channel := b.fresh()
		pos := publish(t, b.Log, app, channel, "x")[0]
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(pos.Epoch) {
			t.Errorf("epoch %q is not 1 to 64 of A-Z a-z 0-9 _ -", pos.Epoch)
		}
		_, at := attach(t, b.Log, app, channel)
		if got := at.Position().Epoch; got != pos.Epoch {
			t.Errorf("epoch of the attachment %q, of the receipt %q", got, pos.Epoch)
		}
		if got := settle(t, b.Log, app, channel, pos).Epoch; got != pos.Epoch {
			t.Errorf("epoch of Retained %q, of the receipt %q", got, pos.Epoch)
		}
		page := read(t, b.Log, app, channel, broker.Query{Limit: 1})
		if got := page.Publications[0].Epoch; got != pos.Epoch {
			t.Errorf("epoch in history %q, of the receipt %q", got, pos.Epoch)
		}
	})

	t.Run("a publish of no events stores nothing", func(t *testing.T) {
		receipts, err := b.Log.Publish(t.Context(), app)
		if err != nil || len(receipts) != 0 {
			t.Errorf("got %d receipts and error %v", len(receipts), err)
		}
	})

	t.Run("an app that does not exist is an error of every call", func(t *testing.T) {
		for name, err := range everyCall(t.Context(), b.Log, b.UnknownApp) {
			if !errors.Is(err, broker.ErrUnknownApp) {
				t.Errorf("%s: got %v, want ErrUnknownApp", name, err)
			}
		}
	})

	t.Run("a context that has ended is an error of every call", func(t *testing.T) {
		for name, err := range everyCall(cancelled(), b.Log, app) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want context.Canceled", name, err)
			}
		}
	})

	t.Run("an event beyond the limit is refused and does no harm", func(t *testing.T) {
		if b.MaxEventBytes == 0 {
			t.Skip("the backend states no limit")
		}
		channel := b.fresh()
		big := text(strings.Repeat("x", b.MaxEventBytes+1))
		_, err := b.Log.Publish(t.Context(), app, broker.Outgoing{Channel: channel, Event: big})
		if !errors.Is(err, broker.ErrTooLarge) {
			t.Fatalf("got %v, want ErrTooLarge", err)
		}
		pos := publish(t, b.Log, app, channel, "small")[0]
		if got := settle(t, b.Log, app, channel, pos).Messages; got != 1 {
			t.Errorf("%d publications are retained, want only the small one", got)
		}
	})

	t.Run("publishers at the same time get different offsets and nothing is lost", func(t *testing.T) {
		channel := b.fresh()
		const publishers, each = 5, channelRoom / 5
		receipts := make([][]broker.Receipt, publishers)
		errs := make([]error, publishers)
		var wg sync.WaitGroup
		for p := range publishers {
			wg.Go(func() {
				for i := range each {
					rs, err := b.Log.Publish(t.Context(), app,
						broker.Outgoing{Channel: channel, Event: text(fmt.Sprintf("%d/%d", p, i))})
					if err != nil {
						errs[p] = err
						return
					}
					receipts[p] = append(receipts[p], rs...)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		want := map[uint64]string{}
		var newest broker.Position
		for p, rs := range receipts {
			for i, r := range rs {
				want[r.Offset] = fmt.Sprintf("%d/%d", p, i)
				if i > 0 && r.Offset <= rs[i-1].Offset {
					t.Errorf("publisher %d: offset %d follows %d", p, r.Offset, rs[i-1].Offset)
				}
				if r.Offset > newest.Offset {
					newest = r.Position
				}
			}
		}
		settle(t, b.Log, app, channel, newest)
		got := map[uint64]string{}
		for _, p := range read(t, b.Log, app, channel, broker.Query{Limit: 1000}).Publications {
			got[p.Offset] = string(p.Data)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("history (-) and receipts (+):\n%s", diff)
		}
	})

	t.Run("health names the backend and its durability", func(t *testing.T) {
		h := b.Log.Health()
		if !h.Ready || h.Backend == "" || h.Durability == "" || h.Level == "" {
			t.Errorf("got %+v, want ready with a backend and a durability", h)
		}
	})
}

// everyCall calls each method of a log that takes an app and returns the errors by method name.
func everyCall(ctx context.Context, log broker.Log, app string) map[string]error {
	errs := map[string]error{}
	_, errs["Publish"] = log.Publish(ctx, app, broker.Outgoing{Channel: "c", Event: text("x")})
	at, err := log.Attach(ctx, app, "c", newRecorder())
	errs["Attach"] = err
	if err == nil {
		at.Detach()
	}
	_, errs["Read"] = log.Read(ctx, app, "c", broker.Query{Limit: 1})
	_, errs["After"] = log.After(ctx, app, "c", broker.Position{Epoch: "e"}, 1)
	_, errs["Retained"] = log.Retained(ctx, app, "c")
	return errs
}
