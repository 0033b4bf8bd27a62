package backlog

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// event is an item of these tests.
type event struct {
	place uint64
	at    time.Time
	size  int
	key   string
}

func (e *event) Place() uint64     { return e.place }
func (e *event) Stored() time.Time { return e.at }
func (e *event) Size() int         { return e.size }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// channel is a simple log that keeps everything.
type channel struct {
	all  []*event
	last uint64
}

func (c *channel) publish(rt *rapid.T, key string) *event {
	c.last += rapid.Uint64Range(1, 3).Draw(rt, "step")
	e := &event{c.last, epoch.Add(time.Duration(c.last) * time.Second), rapid.IntRange(1, 40).Draw(rt, "size"), key}
	c.all = append(c.all, e)
	return e
}

// after returns the events above a place, up to most.
func (c *channel) after(place uint64, most int) []*event {
	i := slices.IndexFunc(c.all, func(e *event) bool { return e.place > place })
	if i < 0 {
		return nil
	}
	return c.all[i:min(i+most, len(c.all))]
}

// naive returns the sum of the sizes of items.
func naive(items []*event) (n int) {
	for _, e := range items {
		n += e.size
	}
	return n
}

// TestABacklogHasNoHoles: a reader that is behind gets everything after its place, once and in order, from
// memory and from pages that were read for others, whatever is published, read and evicted meanwhile.
func TestABacklogHasNoHoles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := &channel{}
		for range rapid.IntRange(0, 30).Draw(rt, "before") {
			log.publish(rt, "")
		}
		b := New[*event, int](Limits{Items: rapid.IntRange(1, 12).Draw(rt, "items"), Bytes: rapid.IntRange(20, 300).Draw(rt, "bytes")})
		b.Begin(log.last)
		type reader struct {
			place  uint64
			got    []*event
			asleep bool
		}
		readers := []*reader{}
		begun := []uint64{}
		var reading *uint64
		wake := func(who []int) {
			for _, i := range who {
				if !readers[i].asleep {
					rt.Fatalf("reader %d is woken and does not wait", i)
				}
				readers[i].asleep = false
			}
		}
		step := func(i int) {
			r := readers[i]
			if r.asleep {
				return
			}
			known, end := b.Known(nil, r.place)
			if want := log.after(r.place, len(log.all)); !slices.Equal(known, want[:min(len(known), len(want))]) || len(known) < len(want) && want[len(known)].place <= end {
				rt.Fatalf("%d are known after %d up to %d, the log has %d", len(known), r.place, end, len(want))
			}
			most := rapid.IntRange(1, 5).Draw(rt, "most")
			items, reached, ok := b.After(nil, r.place, most, i)
			if r.asleep = !ok; ok != (end > r.place || r.place >= b.High()) {
				rt.Fatalf("reader %d at %d goes on: %t, known is up to %d", i, r.place, ok, end)
			}
			if !ok {
				return
			}
			if len(items) > most {
				rt.Fatalf("%d items for reader %d, who asked for %d", len(items), i, most)
			}
			if reached == r.place && r.place < b.High() {
				rt.Fatalf("reader %d stays at %d, the end is %d", i, r.place, b.High())
			}
			r.got, r.place = append(r.got, items...), reached
		}
		finish := func() {
			if reading == nil {
				place, ok := b.Next()
				if !ok {
					return
				}
				reading = &place
				return
			}
			most := rapid.IntRange(1, 10).Draw(rt, "page")
			items := log.after(*reading, most)
			through := log.last
			if n := len(items); n == most {
				through = items[n-1].place
			}
			who := b.Read(*reading, items, through)
			reading = nil
			wake(who)
			for _, i := range who {
				if place := readers[i].place; !b.Covers(place) && b.find(place) == nil {
					rt.Fatalf("reader %d is woken at %d, of which nothing is known", i, place)
				}
			}
		}
		for range rapid.IntRange(0, 200).Draw(rt, "steps") {
			switch rapid.IntRange(0, 8).Draw(rt, "what") {
			case 0, 1:
				if rapid.IntRange(0, 5).Draw(rt, "skipped") == 0 {
					log.last++
					b.Skip(log.last)
					continue
				}
				e := log.publish(rt, "")
				want := append(slices.Clone(b.items), e)
				for len(want) > b.limits.Items || naive(want) > b.limits.Bytes {
					want = want[1:]
				}
				if b.Append(e); !slices.Equal(b.items, want) {
					rt.Fatalf("%d items are kept, there is room for %d", b.Len(), len(want))
				}
			case 2:
				place := rapid.Uint64Range(0, log.last).Draw(rt, "place")
				readers, begun = append(readers, &reader{place: place}), append(begun, place)
			case 3, 4:
				if len(readers) > 0 {
					step(rapid.IntRange(0, len(readers)-1).Draw(rt, "reader"))
				}
			case 5:
				finish()
			case 6:
				if rapid.Bool().Draw(rt, "fail") && reading != nil {
					reading = nil
					wake(b.Failed(nil))
				}
				before := epoch.Add(time.Duration(rapid.Uint64Range(0, log.last).Draw(rt, "expire")) * time.Second)
				want := slices.DeleteFunc(slices.Clone(b.items), func(e *event) bool { return e.at.Before(before) })
				if b.Expire(before); !slices.Equal(b.items, want) {
					rt.Fatalf("%d items are left, %d are young enough", b.Len(), len(want))
				}
			case 7:
				// A reader leaves, and returns to its place, or waits although the next items are known.
				if len(readers) > 0 {
					i := rapid.IntRange(0, len(readers)-1).Draw(rt, "leaves")
					b.Leave(i)
					if readers[i].asleep = rapid.Bool().Draw(rt, "awaits"); readers[i].asleep {
						b.Await(readers[i].place, i)
					}
				}
			case 8:
				if rapid.IntRange(0, 3).Draw(rt, "new life") > 0 {
					continue
				}
				// The places of the old epoch mean nothing in the new one.
				log.all, log.last = nil, rapid.Uint64Range(0, log.last).Draw(rt, "anew")
				wake(b.Begin(log.last))
				if reading != nil {
					wake(b.Failed(nil))
					reading = nil
				}
				for i, r := range readers {
					if r.asleep {
						rt.Fatalf("reader %d waits for what another life had", i)
					}
					r.place, r.got, begun[i] = log.last, nil, log.last
				}
			}
			waits := 0
			for _, r := range readers {
				if r.asleep {
					waits++
				}
			}
			if len(b.waiting) != waits || len(b.Pages.index) != waits {
				rt.Fatalf("%d wait, known are %d, by name %d", waits, len(b.waiting), len(b.Pages.index))
			}
			sum := 0
			for i := range b.pages {
				sum += naive(b.pages[i].items)
			}
			if b.PageBytes() != sum || b.Bytes() != naive(b.items) {
				rt.Fatalf("%d bytes in pages and %d in the window, said to be %d and %d", sum, naive(b.items), b.PageBytes(), b.Bytes())
			}
			for i, e := range b.items {
				if e.place <= b.Low() || e.place > b.High() || i > 0 && e.place <= b.items[i-1].place {
					rt.Fatalf("item %d is at %d, the window is from %d to %d", i, e.place, b.Low(), b.High())
				}
			}
			if at := rapid.Uint64Range(0, log.last).Draw(rt, "count"); b.Covers(at) && b.Count(at) != len(log.after(at, len(log.all))) {
				rt.Fatalf("%d come after %d, the log has %d", b.Count(at), at, len(log.after(at, len(log.all))))
			}
			if rapid.IntRange(0, 9).Draw(rt, "forget") == 0 {
				b.Forget(rapid.IntRange(0, 2).Draw(rt, "but"))
			}
			if b.Len() > b.limits.Items || b.Bytes() > b.limits.Bytes || len(b.pages) > maxPages {
				rt.Fatalf("%d items, %d bytes, %d pages", b.Len(), b.Bytes(), len(b.pages))
			}
		}
		for i, r := range readers {
			for n := 0; r.place < log.last; n++ {
				if n > 1000 {
					rt.Fatalf("reader %d does not arrive", i)
				}
				step(i)
				if r.asleep {
					finish()
				}
			}
			if want := log.after(begun[i], len(log.all)); !slices.Equal(r.got, want) {
				rt.Fatalf("reader %d from %d: got %d items, want %d", i, begun[i], len(r.got), len(want))
			}
		}
	})
}

// TestThoseWhoAreBehindShareReadings: ten thousand readers that are behind at different places cost a few
// reads.
func TestThoseWhoAreBehindShareReadings(t *testing.T) {
	log := &channel{}
	for range 1000 {
		log.last++
		log.all = append(log.all, &event{place: log.last, size: 1})
	}
	b := New[*event, int](Limits{Items: 1000, Bytes: 1000})
	b.Begin(log.last)
	const clients = 10_000
	for i := range clients {
		if _, _, ok := b.After(nil, uint64(900+(i+50)%100), 10, i); ok {
			t.Fatalf("client %d is served by nothing", i)
		}
	}
	readings, served := 0, 0
	for {
		place, ok := b.Next()
		if !ok {
			break
		}
		if _, again := b.Next(); again {
			t.Fatal("two readings at a time")
		}
		readings++
		items := log.after(place, 100)
		served += len(b.Read(place, items, items[len(items)-1].place))
	}
	if readings != 1 || served != clients {
		t.Errorf("%d readings served %d of %d", readings, served, clients)
	}
	if b.Low() != 900 || b.Len() != 100 {
		t.Errorf("the window has %d items from %d, want what was read", b.Len(), b.Low())
	}
	items, reached, ok := b.After(nil, 950, 10, 0)
	if !ok || len(items) != 10 || reached != 960 {
		t.Errorf("got %d items up to %d, %v", len(items), reached, ok)
	}
}

// TestAWindowTakesTheNewestOfThePast: of older items put before a window it takes the newest that fit, and
// reports where it begins.
func TestAWindowTakesTheNewestOfThePast(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := &channel{}
		for range rapid.IntRange(10, 20).Draw(rt, "events") {
			log.publish(rt, "")
		}
		w := NewWindow[*event](Limits{Items: rapid.IntRange(1, 20).Draw(rt, "items"), Bytes: rapid.IntRange(20, 500).Draw(rt, "bytes")})
		begin := rapid.IntRange(0, len(log.all)-1).Draw(rt, "begin")
		w.Begin(log.all[begin].place)
		for _, e := range log.all[begin+1:] {
			w.Append(e)
		}
		low := w.Low()
		after := rapid.Uint64Range(0, log.last).Draw(rt, "after")
		past := log.after(after, len(log.all))
		want := slices.Clone(w.items)
		if after < low {
			low = after
			for _, e := range slices.Backward(past) {
				if e.place > w.Low() {
					continue
				}
				all := append([]*event{e}, want...)
				if len(all) > w.limits.Items || naive(all) > w.limits.Bytes {
					low = e.place
					break
				}
				want = all
			}
		}
		if w.Prepend(after, past); !slices.Equal(w.items, want) || w.Bytes() != naive(want) || w.Low() != low || w.High() != log.last {
			rt.Fatalf("%d items of %d bytes from %d to %d, want %d items of %d bytes from %d to %d",
				w.Len(), w.Bytes(), w.Low(), w.High(), len(want), naive(want), low, log.last)
		}
	})
}

// TestFewPagesAreKept: only the newest pages are kept, and an empty page says up to where there is nothing. A
// reader that asks again at another place waits only there.
func TestFewPagesAreKept(t *testing.T) {
	b := New[*event, int](Limits{Items: 1, Bytes: 10})
	b.Begin(1000)
	for i := range 3 * maxPages {
		from := uint64(10 * i)
		b.After(nil, 999, 1, 1)
		if _, _, ok := b.After(nil, from, 1, 1); ok {
			t.Fatalf("what comes after %d is known", from)
		}
		if at, ok := b.Next(); !ok || at != from {
			t.Fatalf("%d is read next, %t, want %d", at, ok, from)
		}
		var items []*event
		if i%2 == 0 {
			items = []*event{{place: from + 3, size: 2}}
		}
		if woken := b.Read(from, items, from+5); !slices.Equal(woken, []int{1}) {
			t.Fatalf("%v are woken", woken)
		}
		if got, reached := b.Known(nil, from); !slices.Equal(got, items) || reached != from+5 {
			t.Errorf("after %d there are %d up to %d, want %d up to %d", from, len(got), reached, len(items), from+5)
		}
		if got, reached, _ := b.After(nil, from, 9, 1); len(got) != len(items) || reached != from+5 {
			t.Errorf("after %d come %d up to %d, want %d up to %d", from, len(got), reached, len(items), from+5)
		}
		if n := min(i+1, maxPages); len(b.pages) != n {
			t.Errorf("%d pages are kept, want %d", len(b.pages), n)
		}
	}
	if b.PageBytes() != maxPages/2*2 {
		t.Errorf("%d bytes in pages, want %d", b.PageBytes(), maxPages/2*2)
	}
}

// TestWhereARewindBegins: the place at which a rewind by number or by time begins.
func TestWhereARewindBegins(t *testing.T) {
	w := NewWindow[*event](Limits{Items: 4, Bytes: 100})
	w.Begin(10)
	if place, ok := w.Since(epoch); ok || place != 10 {
		t.Errorf("an empty window knows what was stored since: %d", place)
	}
	for _, place := range []uint64{12, 15, 16} {
		w.Append(&event{place: place, at: epoch.Add(time.Duration(place) * time.Second), size: 1})
	}
	w.Append(&event{place: 16, size: 1}) // A publication is added once.
	if w.Len() != 3 {
		t.Errorf("%d items, want 3", w.Len())
	}
	for _, c := range []struct {
		n     int
		at    uint64
		place uint64
		ok    bool
	}{{1, 16, 15, true}, {2, 16, 12, true}, {3, 16, 10, true}, {4, 16, 10, false}, {1, 15, 12, true}, {1, 99, 15, true}, {1, 11, 10, false}} {
		if place, ok := w.Last(c.n, c.at); place != c.place || ok != c.ok {
			t.Errorf("last %d at %d: got %d, %v, want %d, %v", c.n, c.at, place, ok, c.place, c.ok)
		}
	}
	for _, c := range []struct {
		second int
		place  uint64
		ok     bool
	}{{17, 16, true}, {16, 15, true}, {14, 12, true}, {13, 12, true}, {12, 10, false}} {
		if place, ok := w.Since(epoch.Add(time.Duration(c.second) * time.Second)); place != c.place || ok != c.ok {
			t.Errorf("since %d: got %d, %v, want %d, %v", c.second, place, ok, c.place, c.ok)
		}
	}
}

func BenchmarkWindowAppend(b *testing.B) {
	w := NewWindow[*event](Limits{Items: 1000, Bytes: 1 << 20})
	e := event{size: 100}
	b.ReportAllocs()
	for b.Loop() {
		e.place++
		w.Append(&e)
	}
}
