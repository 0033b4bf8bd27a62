package brokertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testNodes(t *testing.T, b *backend) {
	if b.Second == nil {
		t.Skip("the backend has one node only")
	}
	app := b.Apps[0]
	second := b.Second(t)

	t.Run("both nodes see the same order, whoever publishes", func(t *testing.T) {
		channel := b.fresh()
		here, _ := attach(t, b.Log, app, channel)
		there, _ := attach(t, second, app, channel)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, log := range []broker.Log{b.Log, second} {
			wg.Go(func() {
				for n := range channelRoom / 3 {
					_, err := log.Publish(t.Context(), app,
						broker.Outgoing{Channel: channel, Event: text(fmt.Sprintf("%d/%d", i, n))})
					errs[i] = errors.Join(errs[i], err)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		end := publish(t, second, app, channel, "end")[0]
		a, z := here.await(t, end.Offset), there.await(t, end.Offset)
		if diff := cmp.Diff(offsetsOf(a), offsetsOf(z)); diff != "" {
			t.Errorf("offsets on the first node (-) and on the second (+):\n%s", diff)
		}
		if diff := cmp.Diff(dataOf(a), dataOf(z)); diff != "" {
			t.Errorf("data on the first node (-) and on the second (+):\n%s", diff)
		}
		if want := 2*(channelRoom/3) + 1; len(a) != want {
			t.Errorf("%d publications were delivered, want %d", len(a), want)
		}
	})

	t.Run("a position of one node is good on the other", func(t *testing.T) {
		channel := b.fresh()
		positions := publish(t, b.Log, app, channel, number(10)...)
		if got := settle(t, second, app, channel, positions[9]).Epoch; got != positions[0].Epoch {
			t.Errorf("epoch on the second node %q, on the first %q", got, positions[0].Epoch)
		}
		page := after(t, second, app, channel, positions[3], 100)
		if diff := cmp.Diff(offsetsOf(page.Publications), offsets(positions[4:])); diff != "" {
			t.Errorf("got (-) and want (+):\n%s", diff)
		}
		want := after(t, b.Log, app, channel, positions[3], 100).Publications[0].ID()
		if got := page.Publications[0].ID(); got != want {
			t.Errorf("the id on the second node is %q, on the first %q", got, want)
		}
	})

	t.Run("an id for duplicates holds across nodes", func(t *testing.T) {
		channel := b.fresh()
		ev := text("x")
		ev.DedupID = "across"
		first := publishEvent(t, b.Log, app, channel, ev)
		again := publishEvent(t, second, app, channel, ev)
		if want := (broker.Receipt{Position: first.Position, Duplicate: true}); again != want {
			t.Errorf("got %+v, want %+v", again, want)
		}
	})
}

func testReopen(t *testing.T, b *backend) {
	if b.Reopen == nil {
		t.Skip("the backend keeps no data")
	}
	app, channel := b.Apps[0], b.fresh()
	before := publish(t, b.Log, app, channel, number(10)...)
	settle(t, b.Log, app, channel, before[9])
	want := read(t, b.Log, app, channel, broker.Query{Limit: 100})

	log := b.Reopen(t)
	settle(t, log, app, channel, before[9])
	got := read(t, log, app, channel, broker.Query{Limit: 100})
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("history after reopening (-) and before (+):\n%s", diff)
	}
	page := after(t, log, app, channel, before[4], 100)
	if diff := cmp.Diff(offsetsOf(page.Publications), offsets(before[5:])); diff != "" {
		t.Errorf("resumed across reopening, got (-) and want (+):\n%s", diff)
	}
	sink, at := attach(t, log, app, channel)
	if at.Position().Epoch != before[0].Epoch {
		t.Errorf("epoch after reopening %q, before %q", at.Position().Epoch, before[0].Epoch)
	}
	next := publish(t, log, app, channel, "next")[0]
	if next.Offset <= before[9].Offset || next.Epoch != before[9].Epoch {
		t.Errorf("the first position after reopening is %+v, the last before %+v", next, before[9])
	}
	pubs := sink.await(t, next.Offset)
	if last := pubs[len(pubs)-1]; last.Prev != before[9].Offset {
		t.Errorf("publication %d says that %d was before it, want %d", last.Offset, last.Prev, before[9].Offset)
	}
}

func testClose(t *testing.T, b *backend) {
	app, channel := b.Apps[0], b.fresh()
	sink, at := attach(t, b.Log, app, channel)
	pos := publish(t, b.Log, app, channel, "seen")[0]
	sink.await(t, pos.Offset)

	// Publishers that are active when the log closes get a clean error.
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			for {
				_, err := b.Log.Publish(t.Context(), app,
					broker.Outgoing{Channel: channel, Event: text("x")})
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	eventually(t, "publishing is under way", func() bool { return len(sink.got()) > 10 })
	if err := b.Log.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, broker.ErrClosed) && !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("a publish during Close: got %v, want ErrClosed or ErrUnavailable", err)
		}
	}
	if err := b.Log.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	at.Detach()
	for name, err := range everyCall(t.Context(), b.Log, app) {
		if !errors.Is(err, broker.ErrClosed) {
			t.Errorf("%s after Close: got %v, want ErrClosed", name, err)
		}
	}
	if b.Log.Health().Ready {
		t.Error("a closed log says that it is ready")
	}
	if b.Second == nil {
		return
	}
	second := b.Second(t)
	count := len(sink.got())
	witness, _ := attach(t, second, app, channel)
	pos = publish(t, second, app, channel, "after Close")[0]
	witness.await(t, pos.Offset)
	if got := len(sink.got()); got != count {
		t.Errorf("a sink of the closed log got %d more publications", got-count)
	}
}
