package brokertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

func testRead(t *testing.T, b *backend) {
	app := b.Apps[0]
	channel, noise := b.fresh(), b.fresh()
	var positions []broker.Position
	for _, d := range number(30) {
		positions = append(positions, publish(t, b.Log, app, channel, d)...)
		publish(t, b.Log, app, noise, d)
	}
	newest := positions[29]
	settle(t, b.Log, app, channel, newest)
	all := read(t, b.Log, app, channel, broker.Query{Limit: 1000}).Publications
	if diff := cmp.Diff(offsetsOf(all), offsets(positions)); diff != "" {
		t.Fatalf("everything in history (-) and in receipts (+):\n%s", diff)
	}
	for _, p := range all {
		if p.Prev != 0 {
			t.Errorf("publication %d from history claims to know the one before it", p.Offset)
		}
	}

	o := func(i int) uint64 { return positions[i].Offset }
	at := func(i int) time.Time { return all[i].Time }
	queries := map[string]broker.Query{
		"a limit alone":                           {Limit: 7},
		"a limit of one":                          {Limit: 1},
		"a limit that fits exactly":               {Limit: 30},
		"one less than there are":                 {Limit: 29},
		"from an offset":                          {From: o(12), Limit: 100},
		"from between two offsets":                {From: o(12) + 1, Limit: 100},
		"from the newest":                         {From: o(29), Limit: 100},
		"from above the newest":                   {From: o(29) + 1, Limit: 100},
		"up to an offset":                         {To: o(12), Limit: 100},
		"up to an offset with a limit":            {To: o(12), Limit: 5},
		"up to a limit that fits the bound":       {To: o(12), Limit: 13},
		"up to the oldest":                        {To: o(0), Limit: 100},
		"up to above the newest":                  {To: o(29) + 1000, Limit: 100},
		"between two offsets":                     {From: o(5), To: o(20), Limit: 100},
		"between two offsets with a limit":        {From: o(5), To: o(20), Limit: 4},
		"between an offset and itself":            {From: o(5), To: o(5), Limit: 4},
		"since a time":                            {Since: at(10), Limit: 100},
		"since a time with a limit":               {Since: at(10), Limit: 4},
		"since just after a time":                 {Since: at(10).Add(1), Limit: 100},
		"since the future":                        {Since: at(29).Add(time.Hour), Limit: 100},
		"since before everything":                 {Since: at(0).Add(-time.Hour), Limit: 100},
		"until a time":                            {Until: at(10), Limit: 100},
		"until just before a time":                {Until: at(10).Add(-1), Limit: 100},
		"until a time with a limit":               {Until: at(10), Limit: 4},
		"until a time that no clock shows":        {Until: time.UnixMilli(1 << 53), Limit: 100},
		"since a time that no clock shows":        {Since: time.UnixMilli(1 << 53), Limit: 100},
		"since before there was a clock":          {Since: time.UnixMilli(-1 << 53), Limit: 100},
		"until before there was a clock":          {Until: time.UnixMilli(-1 << 53), Limit: 100},
		"between two times that no clock shows":   {Since: time.UnixMilli(-1 << 53), Until: time.UnixMilli(1 << 53), Limit: 100},
		"until before everything":                 {Until: at(0).Add(-time.Hour), Limit: 100},
		"between two times":                       {Since: at(5), Until: at(20), Limit: 100},
		"between two times with a limit":          {Since: at(5), Until: at(20), Limit: 3},
		"between two times that fit the limit":    {Since: at(5), Until: at(20), Limit: 16},
		"from an offset that is after the time":   {From: o(15), Since: at(5), Limit: 100},
		"from an offset that is before the time":  {From: o(5), Since: at(15), Limit: 100},
		"from an offset until a time":             {From: o(5), Until: at(15), Limit: 4},
		"offsets and times that have no overlap":  {From: o(20), Until: at(10), Limit: 4},
		"up to an offset, since a time":           {To: o(20), Since: at(10), Limit: 100},
		"all four bounds":                         {From: o(3), To: o(25), Since: at(5), Until: at(20), Limit: 100},
		"all four bounds with a limit":            {From: o(3), To: o(25), Since: at(5), Until: at(20), Limit: 6},
		"the largest limit":                       {Limit: 1000},
		"up to an offset before the limit counts": {To: o(3), Limit: 4},
	}
	if o(6) > o(5)+1 { // offsets may also be contiguous
		queries["in a hole between two offsets"] = broker.Query{From: o(5) + 1, To: o(6) - 1, Limit: 4}
	}
	for name, q := range queries {
		for _, backwards := range []bool{false, true} {
			q.NewestFirst = backwards
			direction := "oldest first"
			if backwards {
				direction = "newest first"
			}
			t.Run(name+", "+direction, func(t *testing.T) {
				want, more := naiveRead(all, q)
				page := read(t, b.Log, app, channel, q)
				if diff := cmp.Diff(offsetsOf(page.Publications), offsetsOf(want)); diff != "" {
					t.Errorf("got (-) and selected (+):\n%s", diff)
				}
				if diff := cmp.Diff(dataOf(page.Publications), dataOf(want)); diff != "" {
					t.Errorf("data, got (-) and selected (+):\n%s", diff)
				}
				if page.More != more {
					t.Errorf("More: got %v, want %v", page.More, more)
				}
				if page.Retained.Messages != 30 || page.Retained.Newest != newest.Offset {
					t.Errorf("Retained of the page: %+v", page.Retained)
				}
			})
		}
	}

	// Bounds far above the newest publication have no effect, also if a page has only a part of the
	// publications.
	t.Run("bounds far above the newest", func(t *testing.T) {
		channel := b.fresh()
		positions := publish(t, b.Log, app, channel, number(90)...)
		newest := positions[len(positions)-1]
		settle(t, b.Log, app, channel, newest)
		for name, q := range map[string]broker.Query{
			"an offset": {To: 1 << 53}, "the next offset": {To: newest.Offset + 1}, "a time": {Until: time.Now().Add(time.Hour)},
			"both": {To: 1 << 53, Until: time.Now().Add(time.Hour)},
		} {
			q.NewestFirst, q.Limit = true, 5
			page := read(t, b.Log, app, channel, q)
			want := offsets(positions[85:])
			slices.Reverse(want)
			if diff := cmp.Diff(offsetsOf(page.Publications), want); diff != "" || !page.More {
				t.Errorf("%s: more %t, got (-) and want (+):\n%s", name, page.More, diff)
			}
		}
	})

	t.Run("bare pages have the same publications", func(t *testing.T) {
		for _, to := range []int{0, 4, 29} {
			for _, limit := range []int{1, 4, 16, 100} {
				q := broker.Query{NewestFirst: true, To: o(to), Limit: limit}
				want := offsetsOf(read(t, b.Log, app, channel, q).Publications)
				q.Bare = true
				if diff := cmp.Diff(offsetsOf(read(t, b.Log, app, channel, q).Publications), want); diff != "" {
					t.Errorf("%d up to the %dth, got (-) and want (+):\n%s", limit, to, diff)
				}
			}
		}
	})

	t.Run("channels that have something are listed", func(t *testing.T) {
		log, ok := b.Log.(broker.Listing)
		if !ok {
			t.Skip("this log does not list channels")
		}
		root := b.fresh()
		for _, c := range []string{root + "-a", root + "-a.ü *>", root + "-b", root + "-[b]"} {
			publish(t, b.Log, app, c, "x")
		}
		publish(t, b.Log, b.Apps[1], root+"-c", "x")
		for prefix, want := range map[string][]string{
			root + "-": {root + "-[b]", root + "-a", root + "-a.ü *>", root + "-b"}, root + "-a": {root + "-a", root + "-a.ü *>"},
			root + "-c": nil, root + "-*": nil, root + "-[": {root + "-[b]"},
		} {
			got, err := log.Channels(t.Context(), app, prefix)
			if diff := cmp.Diff(got, want); err != nil || diff != "" {
				t.Errorf("%q: %v, got (-) and want (+):\n%s", prefix, err, diff)
			}
		}
		all, err := log.Channels(t.Context(), app, "")
		if err != nil || !slices.Contains(all, root+"-b") || slices.Contains(all, root+"-c") || !slices.IsSorted(all) {
			t.Errorf("all channels: %v, %v", all, err)
		}
		if _, err := log.Channels(t.Context(), "nobody", ""); !errors.Is(err, broker.ErrUnknownApp) {
			t.Errorf("another app: %v", err)
		}
	})

	t.Run("a query that makes no sense is refused", func(t *testing.T) {
		for name, q := range map[string]broker.Query{
			"no limit":         {},
			"negative limit":   {Limit: -1},
			"limit too large":  {Limit: 1001},
			"offsets crossed":  {From: 9, To: 8, Limit: 1},
			"times crossed":    {Since: at(9), Until: at(9).Add(-1), Limit: 1},
			"backwards, none":  {NewestFirst: true},
			"backwards, large": {NewestFirst: true, Limit: 1001},
		} {
			if _, err := b.Log.Read(t.Context(), app, channel, q); !errors.Is(err, broker.ErrInvalidQuery) {
				t.Errorf("%s: got %v, want ErrInvalidQuery", name, err)
			}
		}
		for _, limit := range []int{0, -1, 1001} {
			_, err := b.Log.After(t.Context(), app, channel, newest, limit)
			if !errors.Is(err, broker.ErrInvalidQuery) {
				t.Errorf("After with limit %d: got %v, want ErrInvalidQuery", limit, err)
			}
		}
	})

	t.Run("what is retained is described", func(t *testing.T) {
		got, err := b.Log.Retained(t.Context(), app, channel)
		if err != nil {
			t.Fatal(err)
		}
		want := broker.Retained{
			Epoch: newest.Epoch, Oldest: o(0), Newest: o(29),
			OldestTime: at(0), NewestTime: at(29), Messages: 30,
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got (-) and want (+):\n%s", diff)
		}
	})

	t.Run("counts from an offset on", func(t *testing.T) {
		ranking, ok := b.Log.(broker.Ranking)
		if !ok {
			t.Skip("this log does not count")
		}
		for from, want := range map[uint64]uint64{0: 30, 1: 30, o(0): 30, o(0) + 1: 29, o(12): 18, o(12) + 1: 17, o(29): 1, o(29) + 1: 0} {
			if n, err := ranking.CountFrom(t.Context(), app, channel, from); err != nil || n != want {
				t.Errorf("from %d: %d, %v, want %d", from, n, err, want)
			}
		}
		if n, err := ranking.CountFrom(t.Context(), app, b.fresh(), 1); err != nil || n != 0 {
			t.Errorf("of a channel that was never used: %d, %v", n, err)
		}
	})

	t.Run("a channel that was never used is empty", func(t *testing.T) {
		empty := b.fresh()
		want := broker.Retained{Epoch: newest.Epoch}
		got, err := b.Log.Retained(t.Context(), app, empty)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("Retained, got (-) and want (+):\n%s", diff)
		}
		for _, backwards := range []bool{false, true} {
			page := read(t, b.Log, app, empty, broker.Query{NewestFirst: backwards, Limit: 10})
			if len(page.Publications) != 0 || page.More {
				t.Errorf("got %d publications and More %v", len(page.Publications), page.More)
			}
			if diff := cmp.Diff(page.Retained, want); diff != "" {
				t.Errorf("Retained of the page, got (-) and want (+):\n%s", diff)
			}
		}
	})
}

// naiveRead returns what a query selects, by a plain loop.
func naiveRead(all []*broker.Publication, q broker.Query) (match []*broker.Publication, more bool) {
	for _, p := range all {
		if p.Offset < q.From || q.To != 0 && p.Offset > q.To {
			continue
		}
		if p.Time.Before(q.Since) || !q.Until.IsZero() && p.Time.After(q.Until) {
			continue
		}
		match = append(match, p)
	}
	if q.NewestFirst {
		slices.Reverse(match)
	}
	if len(match) > q.Limit {
		return match[:q.Limit], true
	}
	return match, false
}

// testPaging walks a channel page by page while it grows. Each publication that existed at the start must be
// seen once, in order, whatever is published meanwhile.
func testPaging(t *testing.T, b *backend) {
	app := b.Apps[0]
	for _, backwards := range []bool{true, false} {
		name := "oldest first"
		if backwards {
			name = "newest first"
		}
		t.Run(name+" while publishing sees each publication once", func(t *testing.T) {
			channel := b.fresh()
			const before, during = 35, channelRoom - 35
			positions := publish(t, b.Log, app, channel, number(before)...)
			settle(t, b.Log, app, channel, positions[before-1])

			// Each page that was read lets two more events be published. The
			// buffer holds a step for every page there can be.
			step := make(chan struct{}, channelRoom+1)
			failed := make(chan error, 1)
			go func() {
				failed <- publishSteps(t.Context(), b.Log, app, channel, during, step)
			}()
			var seen []uint64
			q := broker.Query{NewestFirst: backwards, Limit: 3}
			if !backwards {
				q.To = positions[before-1].Offset
			}
			for pages := 0; ; pages++ {
				if pages > channelRoom {
					t.Fatal("paging does not come to an end")
				}
				page := read(t, b.Log, app, channel, q)
				step <- struct{}{}
				seen = append(seen, offsetsOf(page.Publications)...)
				if !page.More {
					break
				}
				last := page.Publications[len(page.Publications)-1].Offset
				if backwards {
					q.To = last - 1
				} else {
					q.From = last + 1
				}
			}
			close(step)
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			want := offsets(positions)
			if backwards {
				slices.Reverse(want)
				// A page that was requested first may show newer ones.
				for len(seen) > 0 && seen[0] > want[0] {
					seen = seen[1:]
				}
			}
			if diff := cmp.Diff(seen, want); diff != "" {
				t.Errorf("seen (-) and retained at the start (+):\n%s", diff)
			}
		})
	}
}

// publishSteps stores up to n events, two per step, until the steps are closed.
func publishSteps(ctx context.Context, log broker.Log, app, channel string, n int, step <-chan struct{}) error {
	for range step {
		for range 2 {
			if n == 0 {
				break
			}
			n--
			_, err := log.Publish(ctx, app, broker.Outgoing{Channel: channel, Event: text("more")})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
