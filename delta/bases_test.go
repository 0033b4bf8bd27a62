package delta_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sluicehq/sluice/delta"
	"pgregory.net/rapid"
)

// plainBases is a naive model of the store: a list of keys in the order of their last publication, each with
// a list of publications.
type plainBases struct {
	l    delta.Limits
	keys []plainKey
}

type plainKey struct {
	name  string
	bases []delta.Base[int] // oldest first
	sizes []int
}

func (p *plainBases) find(key string) int {
	return slices.IndexFunc(p.keys, func(k plainKey) bool { return k.name == key })
}

func (p *plainBases) bytes() (n int) {
	for _, k := range p.keys {
		for _, s := range k.sizes {
			n += s
		}
	}
	return n
}

func (p *plainBases) fresh(b delta.Base[int], now time.Time) bool {
	return p.l.Age == 0 || now.Sub(b.Time) < p.l.Age
}

func (p *plainBases) expire(now time.Time) {
	for len(p.keys) > 0 && !p.fresh(p.keys[0].bases[len(p.keys[0].bases)-1], now) {
		p.keys = p.keys[1:]
	}
}

func (p *plainBases) drop(key string) {
	if i := p.find(key); i >= 0 {
		p.keys = slices.Delete(p.keys, i, i+1)
	}
}

func (p *plainBases) put(key string, b delta.Base[int], size int) {
	p.expire(b.Time)
	k := plainKey{name: key}
	if i := p.find(key); i >= 0 {
		k = p.keys[i]
		p.drop(key)
	}
	if size > p.l.Bytes {
		return
	}
	k.bases, k.sizes = append(k.bases, b), append(k.sizes, size)
	p.keys = append(p.keys, k)
	last := &p.keys[len(p.keys)-1]
	for len(last.bases) > 1 && (len(last.bases) > 1+p.l.Older || p.bytes() > p.l.Bytes || !p.fresh(last.bases[0], b.Time)) {
		last.bases, last.sizes = last.bases[1:], last.sizes[1:]
	}
	for len(p.keys) > p.l.Keys || p.bytes() > p.l.Bytes {
		p.keys = p.keys[1:]
	}
}

func TestBasesAgreeWithAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := delta.Limits{
			Keys:  rapid.IntRange(1, 5).Draw(t, "keys"),
			Bytes: rapid.IntRange(1, 300).Draw(t, "bytes"),
			Age:   time.Duration(rapid.SampledFrom([]int{0, 1, 10, 30}).Draw(t, "age")) * time.Second,
			Older: rapid.IntRange(0, delta.MaxOlder).Draw(t, "older"),
		}
		b, twin := delta.NewBases[int](l), &plainBases{l: l}
		now := time.Unix(1000, 0)
		for offset := range uint64(80) {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
			key := fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "key"))
			switch rapid.IntRange(0, 19).Draw(t, "what") {
			case 0:
				b.Drop(key)
				twin.drop(key)
			case 1:
				b.Expire(now)
				twin.expire(now)
			case 2:
				b.Reset()
				twin.keys = nil
			default:
				size := rapid.IntRange(0, 120).Draw(t, "size")
				b.Put(key, offset, now, int(offset)*2, size)
				twin.put(key, delta.Base[int]{Offset: offset, Time: now, Value: int(offset) * 2}, size)
			}
			if b.Len() != len(twin.keys) || b.Bytes() != twin.bytes() {
				t.Fatalf("%d keys and %d bytes, want %d and %d", b.Len(), b.Bytes(), len(twin.keys), twin.bytes())
			}
			if b.Len() > l.Keys || b.Bytes() > l.Bytes {
				t.Fatalf("%d keys and %d bytes, limits %+v", b.Len(), b.Bytes(), l)
			}
			for i := range 8 {
				key := fmt.Sprint(i)
				var want delta.Base[int]
				has := false
				var all []int
				if i := twin.find(key); i >= 0 {
					for _, x := range twin.keys[i].bases {
						if want = x; twin.fresh(x, now) {
							all = append(all, x.Value)
						}
					}
					has = twin.fresh(want, now)
				}
				if got, ok := b.Get(key, now); ok != has || ok && got != want {
					t.Fatalf("last publication of %s is %v, %v, want %v, %v", key, got, ok, want, has)
				}
				slices.Reverse(all)
				for room := range 4 {
					into := make([]int, room)
					n := b.Recent(key, now, into)
					if got := into[:n]; !slices.Equal(got, all[:min(room, len(all))]) {
						t.Fatalf("the last %d publications of %s are %v, want %v", room, key, got, all)
					}
				}
			}
		}
	})
}

func TestTheLeastRecentlyPublishedKeyIsForgotten(t *testing.T) {
	b := delta.NewBases[string](delta.Limits{Keys: 2, Bytes: 1000})
	now := time.Unix(0, 0)
	b.Put("a", 1, now, "a1", 1)
	b.Put("b", 2, now, "b2", 1)
	if _, ok := b.Get("a", now); !ok {
		t.Fatal("a is gone too early")
	}
	// Get did not make a younger than b; Put does.
	b.Put("a", 3, now, "a3", 1)
	b.Put("c", 4, now, "c4", 1)
	got := map[string]string{}
	for _, key := range []string{"a", "b", "c"} {
		if base, ok := b.Get(key, now); ok {
			got[key] = base.Value
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "a3", "c": "c4"}, got); diff != "" {
		t.Errorf("DS-27: bases differ (-want +got):\n%s", diff)
	}
}

func TestKeysDoNotShareTheMemoryOfTheCaller(t *testing.T) {
	b := delta.NewBases[int](delta.Limits{Keys: 4, Bytes: 1000})
	data := []byte(`{"k":"BTC"}`)
	p, err := delta.ParsePath("k")
	if err != nil {
		t.Fatal(err)
	}
	b.Put(p.Value(data), 1, time.Unix(0, 0), 7, 1)
	copy(data, `{"k":"ETH"}`)
	if base, ok := b.Get("BTC", time.Unix(0, 0)); !ok || base.Value != 7 {
		t.Errorf("the base of BTC is %v, %v", base, ok)
	}
}

func TestKnownKeysDoNotAllocate(t *testing.T) {
	b := delta.NewBases[*int](delta.Limits{Keys: 100, Bytes: 40_000, Age: time.Minute, Older: 4})
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("key-", i)
	}
	now, offset := time.Unix(1000, 0), uint64(0)
	var recent [5]*int
	round := func() {
		for _, key := range keys {
			offset++
			now = now.Add(time.Millisecond)
			b.Get(key, now)
			b.Put(key, offset, now, nil, 300)
			b.Recent(key, now, recent[:])
		}
	}
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkBases(b *testing.B) {
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprint("key-", i)
	}
	for _, older := range []int{0, 4} {
		b.Run(fmt.Sprint("older=", older), func(b *testing.B) {
			s := delta.NewBases[*int](delta.Limits{Keys: 100, Bytes: 1 << 20, Age: time.Minute, Older: older})
			now, offset := time.Unix(1000, 0), uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				offset++
				key := keys[offset%100]
				s.Get(key, now)
				s.Put(key, offset, now, nil, 400)
			}
		})
	}
}
