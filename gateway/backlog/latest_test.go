package backlog

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTheLatestIsTheFoldOfTheChannel: at the end of its walk a joiner has the newest event of every value, in
// the order of the log, whatever is published, purged and evicted during the walk.
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

// TestTheLatestMakesRoomFromTheOldest: the oldest values are evicted, or not admitted.
func TestTheLatestMakesRoomFromTheOldest(t *testing.T) {
	make4 := func() *Latest[*event] {
		l := NewLatest[*event](Limits{Items: 9, Bytes: 100})
		for i, key := range []string{"a", "b", "a", "c", "d"} {
			l.Put(key, &event{place: uint64(i + 1), at: epoch.Add(time.Duration(i) * time.Hour), size: 10})
		}
		return l
	}
	places := func(l *Latest[*event]) (all []uint64) {
		items, _, _ := l.AppendAfter(nil, 0, 99)
		for _, e := range items {
			all = append(all, e.place)
		}
		return all
	}
	for _, c := range []struct {
		name    string
		do      func(l *Latest[*event]) bool
		ok      bool
		left    []uint64
		partial bool
	}{
		{"enough room", func(l *Latest[*event]) bool { return l.Shrink(40, 9) }, true, []uint64{2, 3, 4, 5}, false},
		{"one must go", func(l *Latest[*event]) bool { return l.Shrink(39, 9) }, true, []uint64{3, 4, 5}, true},
		{"two must go", func(l *Latest[*event]) bool { return l.Shrink(20, 3) }, true, []uint64{4, 5}, true},
		{"only one may", func(l *Latest[*event]) bool { return l.Shrink(20, 2) }, false, []uint64{3, 4, 5}, true},
		{"all must go", func(l *Latest[*event]) bool { return l.Shrink(0, 9) }, true, nil, true},
		{"more than all", func(l *Latest[*event]) bool { return l.Shrink(-1, 9) }, false, nil, true},
		{"of an age", func(l *Latest[*event]) bool { l.Expire(epoch.Add(3 * time.Hour)); return true }, true, []uint64{4, 5}, false},
		{"again the last", func(l *Latest[*event]) bool { l.Put("x", &event{place: 5, size: 1}); return true }, true, []uint64{2, 3, 4, 5}, false},
		{"late", func(l *Latest[*event]) bool { l.Put("c", &event{place: 1, size: 1}); return true }, true, []uint64{2, 3, 4, 5}, false},
		{"as many as may be", func(l *Latest[*event]) bool {
			l.limits.Items = 5
			l.Put("e", &event{place: 6, size: 60})
			return true
		}, true, []uint64{2, 3, 4, 5, 6}, false},
		{"filled in bytes", func(l *Latest[*event]) bool {
			*l = *NewLatest[*event](Limits{Items: 9, Bytes: 100})
			l.Fill([]Old[*event]{{"a", &event{place: 9, size: 40}}, {"b", &event{place: 8, size: 60}}}, true)
			return true
		}, true, []uint64{8, 9}, false},
		{"filled in number", func(l *Latest[*event]) bool {
			*l = *NewLatest[*event](Limits{Items: 1, Bytes: 100})
			l.Fill([]Old[*event]{{"a", &event{place: 9, size: 1}}, {"b", &event{place: 8, size: 1}}}, true)
			return true
		}, true, []uint64{9}, true},
	} {
		l := make4()
		if ok := c.do(l); ok != c.ok || !slices.Equal(places(l), c.left) || l.Len() != len(c.left) || l.Partial() != c.partial {
			t.Errorf("%s: %t, left are %v (%d), partial %t; want %t, %v, %t", c.name, ok, places(l), l.Len(), l.Partial(), c.ok, c.left, c.partial)
		}
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
