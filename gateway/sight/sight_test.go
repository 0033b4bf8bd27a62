package sight_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/sight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.UnixMilli(1_700_000_000_000)

// TestTime06WhatCutsAWish distinguishes cuts by retention and by limit, for requests by offset and by time.
func TestTime06WhatCutsAWish(t *testing.T) {
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	kept := broker.Retained{Epoch: "e", Oldest: 10, Newest: 30, OldestTime: at(10), NewestTime: at(30), Messages: 21}
	limited := sight.Bound{From: 20, Time: at(20), Messages: 11}
	none := sight.Bound{From: 31}
	for name, c := range map[string]struct {
		bound sight.Bound
		from  uint64
		since time.Time
		want  sight.Cut
	}{
		"no wish":                         {},
		"from the oldest":                 {from: 10},
		"from before the oldest":          {from: 9, want: sight.CutByRetention},
		"since the oldest":                {since: at(10)},
		"since before the oldest":         {since: at(9), want: sight.CutByRetention},
		"a limit, no wish":                {bound: limited},
		"a limit, from it on":             {bound: limited, from: 20},
		"a limit, from below it":          {bound: limited, from: 19, want: sight.CutByLimit},
		"a limit, from before all":        {bound: limited, from: 1, want: sight.CutByLimit},
		"a limit, since before it":        {bound: limited, since: at(19), want: sight.CutByLimit},
		"a limit below what is kept":      {bound: sight.Bound{From: 5, Time: at(5)}, from: 7, want: sight.CutByRetention},
		"a limit below, from below both":  {bound: sight.Bound{From: 5, Time: at(5)}, from: 3, want: sight.CutByRetention},
		"a limit at the oldest":           {bound: sight.Bound{From: 10, Time: at(10)}, from: 10},
		"a limit at the oldest, below it": {bound: sight.Bound{From: 10, Time: at(10)}, from: 9, want: sight.CutByRetention},
		"the newest alone":                {bound: sight.Bound{From: 30, Time: at(30)}, from: 30},
		"the newest alone, below it":      {bound: sight.Bound{From: 30, Time: at(30)}, from: 29, want: sight.CutByLimit},
		"nothing is young enough":         {bound: none, from: 30, want: sight.CutByLimit},
		"nothing is young enough, later":  {bound: none, from: 31},
		"nothing is young enough, since":  {bound: none, since: at(30), want: sight.CutByLimit},
		"nothing is young enough, future": {bound: none, since: at(31)},
		"off":                             {bound: sight.Bound{Off: true}, want: sight.CutByLimit},
	} {
		if got := c.bound.Cut(kept, c.from, c.since); got != c.want {
			t.Errorf("%s: cut by %q, want %q", name, got, c.want)
		}
		if got := c.bound.Cut(broker.Retained{Epoch: "e"}, c.from, c.since); got != sight.NotCut {
			t.Errorf("%s: an empty channel is cut by %q", name, got)
		}
	}
}

func TestTime06ABoundNarrows(t *testing.T) {
	kept := broker.Retained{Epoch: "e", Oldest: 10, Newest: 30, OldestTime: start, NewestTime: start.Add(time.Minute), Messages: 21}
	later := start.Add(time.Second)
	for name, c := range map[string]struct {
		bound sight.Bound
		want  broker.Retained
	}{
		"all":           {want: kept},
		"off":           {sight.Bound{Off: true}, broker.Retained{Epoch: "e"}},
		"nothing":       {sight.Bound{From: 31}, broker.Retained{Epoch: "e"}},
		"the oldest on": {sight.Bound{From: 10, Time: later, Messages: 5}, kept},
		"the newest alone": {sight.Bound{From: 30, Time: later, Messages: 1}, broker.Retained{
			Epoch: "e", Oldest: 30, Newest: 30, OldestTime: later, NewestTime: kept.NewestTime, Messages: 1,
		}},
		"a part": {sight.Bound{From: 20, Time: later, Messages: 11}, broker.Retained{Epoch: "e", Oldest: 20, Newest: 30, OldestTime: later, NewestTime: kept.NewestTime, Messages: 11}},
		"uncounted": {sight.Bound{From: 20, Time: later}, broker.Retained{
			Epoch: "e", Oldest: 20, Newest: 30, OldestTime: later, NewestTime: kept.NewestTime, Messages: 21,
		}},
	} {
		if diff := cmp.Diff(c.want, c.bound.Retained(kept)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, some := (sight.Bound{From: 20}).Query(broker.Query{To: 19}); some {
		t.Error("a query that ends below the bound finds something")
	}
	if q, some := (sight.Bound{From: 20}).Query(broker.Query{From: 3, To: 20}); !some || q.From != 20 {
		t.Errorf("the query is %+v, %t", q, some)
	}
}

// TestTime06EveryReaderSeesTheSame: pages in both directions, reads after a position, and the state agree
// about each limit.
func TestTime06EveryReaderSeesTheSame(t *testing.T) {
	now := start
	log, err := memory.New(memory.Options{Apps: []string{"app"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range 20 {
		now = start.Add(time.Duration(i) * time.Second)
		if _, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: fmt.Append(nil, i)}}); err != nil {
			t.Fatal(err)
		}
	}
	epoch := ""
	for name, c := range map[string]struct {
		limit app.Reading
		want  int
	}{
		"none":                   {app.Reading{}, 20},
		"number":                 {app.Reading{Messages: 7}, 7},
		"more than there are":    {app.Reading{Messages: 100}, 20},
		"age":                    {app.Reading{Age: 4 * time.Second}, 5},
		"both, the age is less":  {app.Reading{Messages: 7, Age: 4 * time.Second}, 5},
		"both, the number is":    {app.Reading{Messages: 3, Age: 4 * time.Second}, 3},
		"nothing is young":       {app.Reading{Age: time.Nanosecond}, 1},
		"an age that covers all": {app.Reading{Age: time.Hour}, 20},
	} {
		a := &app.App{ID: "app", Readings: app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: c.limit}})}
		v, err := sight.Log{History: log, Now: func() time.Time { return now }}.Look(t.Context(), a, "c")
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []broker.Query{{Limit: 100}, {Limit: 100, NewestFirst: true}, {Limit: 100, From: 1}, {Limit: 100, Since: start}} {
			page, err := v.Read(t.Context(), q)
			if err != nil || len(page.Publications) != c.want || int(page.Retained.Messages) != c.want || page.Kept.Messages != 20 {
				t.Fatalf("%s, %+v: %d events of %+v, %v, want %d", name, q, len(page.Publications), page, err, c.want)
			}
			epoch = page.Retained.Epoch
		}
		seen, kept, err := v.State(t.Context())
		if err != nil || int(seen.Messages) != c.want || kept.Messages != 20 {
			t.Errorf("%s: the state is %+v of %+v, %v", name, seen, kept, err)
		}
		lowest := kept.Newest - uint64(c.want) + 1
		for _, step := range []struct {
			after uint64
			ok    bool
		}{{lowest - 1, true}, {kept.Newest, true}, {lowest - 2, c.want == 20}} {
			if c.want == 20 && step.after > 1<<60 {
				continue // Nothing is before the first event.
			}
			page, err := v.After(t.Context(), broker.Position{Epoch: epoch, Offset: step.after}, 100)
			if step.ok != (err == nil) || err == nil && len(page.Publications) != int(kept.Newest-step.after) || err != nil && !errors.Is(err, broker.ErrPositionExpired) {
				t.Errorf("%s, after %d: %v, %+v", name, step.after, err, page)
			}
		}
	}
}

// TestTime06LargeEventsCountAsMany: a limit counts events even if they take several pages, and with an age
// that all events exceed nothing is readable.
func TestTime06LargeEventsCountAsMany(t *testing.T) {
	const all = 20
	now := start
	log, err := memory.New(memory.Options{Apps: []string{"app"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	data := make([]byte, 1<<20-1024)
	for range all {
		if _, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: data}}); err != nil {
			t.Fatal(err)
		}
	}
	look := func(limit app.Reading) *sight.View {
		a := &app.App{ID: "app", Readings: app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: limit}})}
		v, err := sight.Log{History: log, Now: func() time.Time { return now }}.Look(t.Context(), a, "c")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	page, err := look(app.Reading{}).Read(t.Context(), broker.Query{Limit: all, NewestFirst: true})
	if err != nil || len(page.Publications) == all {
		t.Fatalf("all of them are on one page, %v", err)
	}
	for _, n := range []int{0, 1, 6, 7, 8, 9, 13, 17, all - 1, all} {
		v, most, want := look(app.Reading{Messages: n}), n, uint64(all+1-n)
		if n == 0 || n == all {
			most, want = all, 0 // No bound.
		}
		if v.From != want {
			t.Errorf("%d are from %d on, want %d", n, v.From, want)
		}
		last, found, err := v.Back(t.Context(), broker.Query{NewestFirst: true, Limit: 100})
		if err != nil || found != most || last.More || last.Publications[len(last.Publications)-1].Offset != uint64(all+1-most) {
			t.Errorf("%d: found are %d, %v", n, found, err)
		}
		if _, found, err = v.Back(t.Context(), broker.Query{NewestFirst: true, Limit: 1}); err != nil || found != 1 {
			t.Errorf("one of %d: found are %d, %v", n, found, err)
		}
	}
	now = start.Add(time.Hour)
	v := look(app.Reading{Age: time.Minute})
	page, err = v.Read(t.Context(), broker.Query{Limit: all})
	if err != nil || len(page.Publications) != 0 || page.Retained.Messages != 0 || page.Kept.Messages != all || v.From != all+1 {
		t.Errorf("all are too old: %+v, from %d, %v", page, v.From, err)
	}
}

// TestWhatACacheChannelRemembers: the remembered event is found behind client events, however many pages of
// them there are, and not above a given offset.
func TestWhatACacheChannelRemembers(t *testing.T) {
	log, err := memory.New(memory.Options{Apps: []string{"app"}, MaxMessages: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	l := sight.Log{History: log, Now: time.Now}
	remembered := func(to uint64) uint64 {
		p, err := l.Remembered(t.Context(), "app", "cache-c", to)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return 0
		}
		return p.Offset
	}
	var all []uint64
	for n, origin := range []broker.Origin{broker.OriginClient, broker.OriginHTTP, broker.OriginClient, broker.OriginHTTP, broker.OriginClient} {
		for i := range 1300 {
			if origin == broker.OriginHTTP && i > 0 {
				break
			}
			r, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "cache-c", Event: &broker.Event{Name: "client-e", Origin: origin}})
			if err != nil {
				t.Fatal(err)
			}
			if origin == broker.OriginHTTP {
				all = append(all, r[0].Offset)
			}
		}
		want := uint64(0)
		if len(all) > 0 {
			want = all[len(all)-1]
		}
		if got := remembered(0); got != want {
			t.Errorf("after part %d: %d is remembered, want %d", n, got, want)
		}
	}
	for to, want := range map[uint64]uint64{all[0] - 1: 0, all[0]: all[0], all[1] - 1: all[0], all[1]: all[1], all[1] + 200: all[1]} {
		if got := remembered(to); got != want {
			t.Errorf("up to %d, %d is remembered, want %d", to, got, want)
		}
	}
}

// TestTime06WhatIsOffIsOffForAll: with Off every kind of read fails with ErrOff.
func TestTime06WhatIsOffIsOffForAll(t *testing.T) {
	a := &app.App{ID: "app", Readings: app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Off: true}}})}
	v, err := sight.Log{}.Look(t.Context(), a, "c") // the log is not read
	if err != nil || v.Sees(1) {
		t.Fatalf("got %+v, %v", v, err)
	}
	reads := map[string]func(context.Context) error{
		"read":  func(ctx context.Context) error { _, err := v.Read(ctx, broker.Query{Limit: 1}); return err },
		"after": func(ctx context.Context) error { _, err := v.After(ctx, broker.Position{}, 1); return err },
		"state": func(ctx context.Context) error { _, _, err := v.State(ctx); return err },
	}
	for name, read := range reads {
		if err := read(t.Context()); !errors.Is(err, sight.ErrOff) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
