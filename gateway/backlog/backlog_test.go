package backlog

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// event is an item of the tests.
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

// channel is a log that keeps everything, in the simplest way.
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

// after is everything above a place, up to most.
func (c *channel) after(place uint64, most int) []*event {
	i := slices.IndexFunc(c.all, func(e *event) bool { return e.place > place })
	if i < 0 {
		return nil
	}
	return c.all[i:min(i+most, len(c.all))]
}

// Whoever is behind, wherever, gets everything after his place, once and in order, from
// memory and from pages that others have read, whatever is published, read, and let go
// meanwhile.
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
			items, reached, ok := b.After(nil, r.place, rapid.IntRange(1, 5).Draw(rt, "most"), i)
			if r.asleep = !ok; ok != (end > r.place || r.place >= b.High()) {
				rt.Fatalf("reader %d at %d goes on: %t, known is up to %d", i, r.place, ok, end)
			}
			if !ok {
				return
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
		}
		for range rapid.IntRange(0, 80).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1:
				if rapid.IntRange(0, 5).Draw(rt, "skipped") == 0 {
					log.last++
					b.Skip(log.last)
					continue
				}
				b.Append(log.publish(rt, ""))
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
				b.Expire(epoch.Add(time.Duration(rapid.Uint64Range(0, log.last).Draw(rt, "expire")) * time.Second))
			}
			sum := 0
			for i := range b.pages {
				sum += b.pages[i].size()
			}
			if b.PageBytes() != sum {
				rt.Fatalf("%d bytes in pages, said to be %d", sum, b.PageBytes())
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

// Ten thousand who are behind at places of their own cost a few readings.
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
		if _, _, ok := b.After(nil, uint64(900+i%100), 10, i); ok {
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

// Where a rewind begins.
func TestWhereARewindBegins(t *testing.T) {
	w := NewWindow[*event](Limits{Items: 4, Bytes: 100})
	w.Begin(10)
	if place, ok := w.Since(epoch); ok || place != 10 {
		t.Errorf("an empty window knows what was stored since: %d", place)
	}
	for _, place := range []uint64{12, 15, 16} {
		w.Append(&event{place: place, at: epoch.Add(time.Duration(place) * time.Second), size: 1})
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

// What joiners see is the newest of every value, in the order of the log, at the end of
// their walk, whatever is published, purged and let go during it.
func TestTheLatestIsTheFoldOfTheChannel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := &channel{}
		keys := rapid.IntRange(1, 12).Draw(rt, "keys")
		key := func() string { return string(rune('a' + rapid.IntRange(0, keys-1).Draw(rt, "key"))) }
		oldest := uint64(0)
		fold := func() map[string]*event {
			m := map[string]*event{}
			for _, e := range log.all {
				m[e.key] = e
			}
			for k, e := range m {
				if e.place < oldest {
					delete(m, k)
				}
			}
			return m
		}
		for range rapid.IntRange(0, 30).Draw(rt, "before") {
			log.publish(rt, key())
		}
		l := NewLatest[*event](Limits{Items: 100, Bytes: 1 << 20})
		begin := len(log.all)
		for range rapid.IntRange(0, 5).Draw(rt, "early") {
			e := log.publish(rt, key())
			l.Put(e.key, e)
		}
		var past []Old[*event]
		for i := begin - 1; i >= 0; i-- {
			past = append(past, Old[*event]{log.all[i].key, log.all[i]})
		}
		l.Fill(past, true)
		var place uint64
		view := map[string]*event{}
		check := func() {
			want := fold()
			if l.Len() != len(want) || l.Partial() {
				rt.Fatalf("%d values, want %d; partial: %v", l.Len(), len(want), l.Partial())
			}
			size := 0
			for _, e := range want {
				size += e.size
			}
			if l.Bytes() != size {
				rt.Fatalf("%d bytes, want %d", l.Bytes(), size)
			}
		}
		walk := func(most int) bool {
			items, reached, end := l.AppendAfter(nil, place, most)
			for _, e := range items {
				if e.place <= place {
					rt.Fatalf("%d comes after %d", e.place, place)
				}
				place = e.place
				view[e.key] = e
			}
			if place != reached {
				rt.Fatalf("reached %d, the last was %d", reached, place)
			}
			return end
		}
		check()
		for range rapid.IntRange(0, 150).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1, 2:
				e := log.publish(rt, key())
				l.Put(e.key, e)
			case 3, 4:
				walk(rapid.IntRange(1, 4).Draw(rt, "most"))
			case 5:
				oldest = max(oldest, rapid.Uint64Range(0, log.last).Draw(rt, "oldest"))
				l.Cut(oldest)
				for k, e := range view {
					if e.place < oldest {
						delete(view, k)
					}
				}
			}
			check()
		}
		for !walk(3) {
			continue
		}
		want := fold()
		for k, e := range want {
			if view[k] != e {
				rt.Fatalf("the view has %v for %s, want %v", view[k], k, e)
			}
		}
		if len(view) != len(want) {
			rt.Fatalf("the view has %d values, want %d", len(view), len(want))
		}
	})
}

func TestTheLatestKeepsToItsLimits(t *testing.T) {
	l := NewLatest[*event](Limits{Items: 3, Bytes: 100})
	for i := range 1000 {
		l.Put(string(rune('a'+i%26)), &event{place: uint64(i + 1), size: 10})
		if l.Len() > 3 || l.Bytes() > 30 || len(l.slots) > 200 {
			t.Fatalf("%d values, %d bytes, %d slots", l.Len(), l.Bytes(), len(l.slots))
		}
	}
	if !l.Partial() {
		t.Error("nothing says that values are missing")
	}
	l.Put("huge", &event{place: 5000, size: 1000})
	if l.Len() != 0 || l.Bytes() != 0 {
		t.Errorf("%d values of %d bytes beside one that is too large", l.Len(), l.Bytes())
	}
	l.Reset()
	l.Fill([]Old[*event]{{"a", &event{place: 9, size: 60}}, {"a", &event{place: 8, size: 60}}, {"b", &event{place: 7, size: 60}}}, true)
	if l.Len() != 1 || !l.Partial() {
		t.Errorf("%d values, partial %v, want the one that fits", l.Len(), l.Partial())
	}
	l.Reset()
	l.Fill([]Old[*event]{{"a", &event{place: 2, at: epoch, size: 1}}}, true)
	l.Put("b", &event{place: 3, at: epoch.Add(time.Hour), size: 1})
	if l.Expire(epoch.Add(time.Minute)); l.Len() != 1 || l.Partial() {
		t.Errorf("%d values after the age of one, partial %v", l.Len(), l.Partial())
	}
}

func BenchmarkLatestPut(b *testing.B) {
	l := NewLatest[*event](Limits{Items: 10_000, Bytes: 1 << 30})
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = string(rune(i + 1))
	}
	e := event{size: 1}
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		e.place = n
		l.Put(keys[n%10_000], &e)
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
