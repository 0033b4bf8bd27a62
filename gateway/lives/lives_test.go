package lives_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/kv"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

const patience = 3 * time.Minute

// table is an in-memory table that can lose writes.
type table struct {
	*kv.MemoryTable
	mu      sync.Mutex
	watches []kv.Watcher
}

func newTable() *table { return &table{MemoryTable: kv.NewMemoryTable(nil)} }

func (t *table) Watch(pattern string, w kv.Watcher) (func(), error) {
	t.mu.Lock()
	t.watches = append(t.watches, w)
	t.mu.Unlock()
	return t.MemoryTable.Watch(pattern, w)
}

func (t *table) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watches {
		w.Lost()
	}
}

// rig is a log with gateways on it.
type rig struct {
	t     *testing.T
	below *memory.Log
	table *table
}

func newRig(t *testing.T) *rig {
	log, err := memory.New(memory.Options{Apps: []string{"app", "other"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return &rig{t, log, newTable()}
}

func (r *rig) gateway() *lives.Log {
	r.t.Helper()
	return r.gatewayOn(r.table)
}

func (r *rig) gatewayOn(table kv.Table) *lives.Log {
	r.t.Helper()
	l, err := lives.New(r.t.Context(), r.below, table, func() int { return 2 }, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = l.Close() })
	return l
}

func publish(t *testing.T, log broker.Log, app, channel string, n int) []broker.Position {
	t.Helper()
	var out []broker.Position
	for i := range n {
		got, err := log.Publish(t.Context(), app, broker.Outgoing{Channel: channel, Event: &broker.Event{Name: "e", Data: fmt.Append(nil, i)}})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got[0].Position)
	}
	return out
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	until := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(until) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func id(t *testing.T, log broker.Log, app, channel string) string {
	t.Helper()
	r, err := log.Retained(t.Context(), app, channel)
	if err != nil {
		t.Fatal(err)
	}
	return r.Epoch
}

// sink records its calls.
type sink struct {
	mu   sync.Mutex
	said []string
}

func (s *sink) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.said...)
}

func (s *sink) Publication(p *broker.Publication) { s.say("%s %d", p.Epoch, p.Offset) }
func (s *sink) Gap(g broker.Gap) {
	s.say("gap %s %d, %s %d", g.After.Epoch, g.After.Offset, g.Resume.Epoch, g.Resume.Offset)
}
func (s *sink) Forget(at broker.Position) { s.say("forget %s %d", at.Epoch, at.Offset) }

func attach(t *testing.T, log broker.Log, channel string, to broker.Sink) broker.Attachment {
	t.Helper()
	at, err := log.Attach(t.Context(), "app", channel, to)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

var allowed = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// TestTime01AResetIsOfOneChannelAndForAllGateways: every gateway uses the new id for the channel and for no
// other, and old positions fail everywhere, also after a restart.
func TestTime01AResetIsOfOneChannelAndForAllGateways(t *testing.T) {
	r := newRig(t)
	one, two := r.gateway(), r.gateway()
	old := publish(t, one, "app", "c.d", 5)
	publish(t, one, "app", "c", 2)
	publish(t, one, "other", "c.d", 2)
	here, there := &sink{}, &sink{}
	defer attach(t, one, "c.d", here).Detach()
	at := attach(t, two, "c.d", there)
	defer at.Detach()

	done, err := one.Reset(t.Context(), "app", "c.d")
	if err != nil || done.Messages != 5 || done.Bytes != 5 || done.Previous != old[0].Epoch || done.Present == done.Previous || !allowed.MatchString(done.Present) {
		t.Fatalf("got %+v, %v", done, err)
	}
	if got := id(t, one, "app", "c.d"); got != done.Present {
		t.Errorf("the gateway that did it says %s, want %s", got, done.Present)
	}
	eventually(t, "the other gateway knows", func() bool { return len(there.all()) == 1 })
	third := r.gateway()
	for name, log := range map[string]broker.Log{"one": one.Broker(), "two": two.Broker(), "three": third.Broker()} {
		if got := id(t, log, "app", "c.d"); got != done.Present {
			t.Errorf("%s: the id is %s, want %s", name, got, done.Present)
		}
		if id(t, log, "app", "c") != done.Previous || id(t, log, "other", "c.d") == done.Present {
			t.Errorf("%s: other channels were touched", name)
		}
		for _, pos := range append(old, broker.Position{Epoch: done.Previous}, broker.Position{Epoch: done.Present + "x"}) {
			if _, err := log.After(t.Context(), "app", "c.d", pos, 10); !errors.Is(err, broker.ErrEpochChanged) {
				t.Errorf("%s: after %+v: %v, want ErrEpochChanged", name, pos, err)
			}
		}
		if _, err := log.After(t.Context(), "app", "c.d", broker.Position{Epoch: done.Present, Offset: 2}, 10); !errors.Is(err, broker.ErrPositionExpired) {
			t.Errorf("%s: an old place under the new id: %v", name, err)
		}
	}
	if got := at.Position(); got.Epoch != done.Present {
		t.Errorf("the attachment is at %+v", got)
	}
	now := publish(t, two, "app", "c.d", 2)
	want := []string{
		fmt.Sprintf("forget %s %d", done.Present, old[4].Offset),
		fmt.Sprintf("%s %d", done.Present, now[0].Offset), fmt.Sprintf("%s %d", done.Present, now[1].Offset),
	}
	for name, s := range map[string]*sink{"here": here, "there": there} {
		eventually(t, name+": the new events have come", func() bool { return len(s.all()) >= 3 })
		if diff := cmp.Diff(want, s.all()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if page, err := two.After(t.Context(), "app", "c.d", broker.Position{Epoch: done.Present}, 10); err != nil || len(page.Publications) != 2 {
		t.Errorf("from the beginning of the new life: %+v, %v", page, err)
	}
	page, err := third.After(t.Context(), "app", "c.d", now[0], 10)
	if err != nil || len(page.Publications) != 1 || page.Publications[0].Position != now[1] || page.Retained.Epoch != done.Present {
		t.Errorf("after the first new one: %+v, %v", page, err)
	}
	if page, err := one.Read(t.Context(), "app", "c.d", broker.Query{Limit: 10}); err != nil || len(page.Publications) != 2 || page.Publications[0].Position != now[0] {
		t.Errorf("the history is %+v, %v", page, err)
	}
	again, err := two.Reset(t.Context(), "app", "c.d")
	if err != nil || again.Previous != done.Present || again.Present == done.Present || again.Messages != 2 || !allowed.MatchString(again.Present) {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if _, err := two.After(t.Context(), "app", "c.d", now[1], 10); !errors.Is(err, broker.ErrEpochChanged) {
		t.Errorf("after the second reset: %v", err)
	}
}

// TestTime01APurgeIsForgottenByAllGateways: all gateways forget the purged events, and the id stays.
func TestTime01APurgeIsForgottenByAllGateways(t *testing.T) {
	r := newRig(t)
	one, two := r.gateway(), r.gateway()
	all := publish(t, one, "app", "c", 6)
	there := &sink{}
	defer attach(t, two, "c", there).Detach()
	gone, err := one.Purge(t.Context(), "app", "c", all[3].Offset)
	if err != nil || gone.Messages != 3 {
		t.Fatalf("got %+v, %v", gone, err)
	}
	eventually(t, "the other gateway forgets", func() bool { return len(there.all()) == 1 })
	if diff := cmp.Diff([]string{fmt.Sprintf("forget %s %d", all[0].Epoch, all[2].Offset)}, there.all()); diff != "" {
		t.Error(diff)
	}
	if id(t, two, "app", "c") != all[0].Epoch {
		t.Error("the id has changed")
	}
	for i, pos := range all {
		_, err := two.After(t.Context(), "app", "c", pos, 10)
		if i < 2 && !errors.Is(err, broker.ErrPositionExpired) || i >= 2 && err != nil {
			t.Errorf("after number %d: %v", i, err)
		}
	}
	// A reset keeps the record of the purge, and so does a purge of a channel that was reset.
	done, err := two.Reset(t.Context(), "app", "c")
	if err != nil || done.Messages != 3 {
		t.Fatalf("got %+v, %v", done, err)
	}
	last := publish(t, two, "app", "c", 2)[1]
	if gone, err := two.Purge(t.Context(), "app", "c", 0); err != nil || gone.Messages != 2 {
		t.Errorf("got %+v, %v", gone, err)
	}
	if id(t, two, "app", "c") != done.Present {
		t.Error("a purge has changed the id")
	}
	if _, err := two.After(t.Context(), "app", "c", broker.Position{Epoch: done.Present}, 10); !errors.Is(err, broker.ErrPositionExpired) {
		t.Errorf("from the beginning of a life of which something was purged: %v", err)
	}
	// An emptied channel is forgotten up to where the log was: an event that overtakes the record stays.
	before := len(there.all())
	if _, err := two.Purge(t.Context(), "app", "c", 0); err != nil {
		t.Error(err)
	}
	eventually(t, "everything is forgotten", func() bool {
		said := there.all()
		return said[len(said)-1] == fmt.Sprintf("forget %s %d", done.Present, last.Offset) && len(said) > before
	})
	publish(t, two, "app", "c", 1)
	eventually(t, "what came later stays", func() bool {
		said := there.all()
		return said[len(said)-1] == fmt.Sprintf("%s %d", done.Present, last.Offset+1)
	})
}

// TestTime01ATableThatWasLost: gateways write their records again, and ids stay.
func TestTime01ATableThatWasLost(t *testing.T) {
	r := newRig(t)
	one, two := r.gateway(), r.gateway()
	publish(t, one, "app", "c", 2)
	first, err := one.Reset(t.Context(), "app", "c")
	if err != nil {
		t.Fatal(err)
	}
	records, err := r.table.List(t.Context(), "life.>")
	if err != nil || len(records) != 1 {
		t.Fatalf("the table has %v, %v", records, err)
	}
	second, err := two.Reset(t.Context(), "app", "c")
	if err != nil || second.Previous != first.Present {
		t.Fatalf("got %+v, %v", second, err)
	}
	for name, lose := range map[string]func() error{
		"all of it": func() error { return r.table.Purge(t.Context(), "life.>", 1<<62) },
		"the newest": func() error {
			_, err := r.table.Put(t.Context(), records[0].Key, records[0].Value, 0)
			return err
		},
		"sense": func() error { _, err := r.table.Put(t.Context(), records[0].Key, []byte("{"), 0); return err },
	} {
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		r.table.lost()
		eventually(t, name+": a new gateway knows the id", func() bool {
			l, err := lives.New(t.Context(), r.below, r.table, func() int { return 2 }, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			return id(t, l, "app", "c") == second.Present
		})
	}
	// No gateway has noticed yet: the next reset continues from what they know all the same.
	if err := r.table.Purge(t.Context(), "life.>", 1<<62); err != nil {
		t.Fatal(err)
	}
	if third, err := one.Reset(t.Context(), "app", "c"); err != nil || third.Previous != second.Present {
		t.Errorf("got %+v, %v", third, err)
	}
}

// TestTime01ResetsAtTheSameTime: concurrent resets end with one id for all gateways.
func TestTime01ResetsAtTheSameTime(t *testing.T) {
	r := newRig(t)
	logs := []*lives.Log{r.gateway(), r.gateway(), r.gateway()}
	publish(t, logs[0], "app", "c", 1)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if _, err := logs[i%3].Reset(context.Background(), "app", "c"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "all agree", func() bool {
		a := id(t, logs[0], "app", "c")
		return a == id(t, logs[1], "app", "c") && a == id(t, logs[2], "app", "c") && a == id(t, r.gateway(), "app", "c")
	})
}

// driven is a log whose live publications the test makes up.
type driven struct {
	broker.Log
	broker.Attachment
	sink    broker.Sink
	refuses bool
}

func (d *driven) Attach(_ context.Context, _, _ string, sink broker.Sink) (broker.Attachment, error) {
	d.sink = sink
	return d, nil
}

func (d *driven) Position() broker.Position { return broker.Position{Epoch: "e", Offset: 1} }
func (d *driven) Detach()                   {}

func (d *driven) Retained(context.Context, string, string) (broker.Retained, error) {
	return broker.Retained{Epoch: "e", Oldest: 1, Newest: 9, Messages: 9}, nil
}

func (d *driven) Purge(context.Context, string, string, uint64) (broker.Erased, error) {
	if d.refuses {
		return broker.Erased{}, broker.ErrUnavailable
	}
	return broker.Erased{Messages: 9}, nil
}

// TestTime01WhatComesLateIsForgottenAgain: a late event of the old epoch is delivered, and does not stay in
// memory.
func TestTime01WhatComesLateIsForgottenAgain(t *testing.T) {
	d, tab := &driven{refuses: true}, newTable()
	l, err := lives.New(t.Context(), d, tab, func() int { return 2 }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &sink{}
	at := attach(t, l, "c", s)
	// A failed reset leaves nothing behind.
	if _, err := l.Reset(t.Context(), "app", "c"); !errors.Is(err, broker.ErrUnavailable) {
		t.Fatal(err)
	}
	if all, err := tab.List(t.Context(), "life.>"); err != nil || len(all) > 0 || len(s.all()) > 0 {
		t.Fatalf("the table has %v, %v, the sink was told %v", all, err, s.all())
	}
	d.refuses = false
	give := func(epoch string, offset uint64) {
		d.sink.Publication(&broker.Publication{Position: broker.Position{Epoch: epoch, Offset: offset}})
	}
	give("e", 7)
	done, err := l.Reset(t.Context(), "app", "c")
	if err != nil {
		t.Fatal(err)
	}
	give("e", 8)
	give("e", 0) // an event that is not in the log
	give("e", 10)
	d.sink.Gap(broker.Gap{After: broker.Position{Epoch: "e", Offset: 10}, Resume: broker.Position{Epoch: "f", Offset: 3}})
	give("f", 4)
	at.Detach()
	if _, err := l.Reset(t.Context(), "app", "c"); err != nil {
		t.Fatal(err)
	}
	now, next := done.Present, "f"+done.Present[1:]
	want := []string{
		"e 7", "forget " + now + " 9", now + " 8", "forget " + now + " 9", now + " 0", now + " 10",
		"gap " + now + " 10, " + next + " 3", next + " 4",
	}
	if diff := cmp.Diff(want, s.all()); diff != "" {
		t.Errorf("the sink was told (-want +got):\n%s", diff)
	}
}
