package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

const patience = 3 * time.Minute

// recorder is a watcher that remembers.
type recorder struct {
	mu   sync.Mutex
	got  []kv.Record
	lost int
}

func (r *recorder) Changed(c kv.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, c)
}

func (r *recorder) Lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
}

func (r *recorder) all() []kv.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Run runs the suite. open returns an empty table.
func Run(t *testing.T, open func(t *testing.T) kv.Table) {
	for name, test := range map[string]func(*testing.T, kv.Table){
		"put and read": putAndRead, "swap": swap, "one of many swaps wins": race, "list": list, "watch": watch,
		"purge": purge, "time to live": expiry, "bad keys": badKeys,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, table kv.Table, key, value string) uint64 {
	t.Helper()
	r, err := table.Put(t.Context(), key, []byte(value), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func putAndRead(t *testing.T, table kv.Table) {
	first := put(t, table, "a.b", "one")
	other := put(t, table, "a.c", "other")
	second := put(t, table, "a.b", "two")
	if first >= other || other >= second {
		t.Errorf("revisions %d, %d, %d do not rise over the table", first, other, second)
	}
	e, err := table.Read(t.Context(), "a.b")
	if err != nil || string(e.Value) != "two" || e.Revision != second || e.Time.IsZero() {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := table.Read(t.Context(), "a.d"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a key that does not exist gave %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Put(ended, "a.b", nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gave %v", err)
	}
}

func swap(t *testing.T, table kv.Table) {
	first, err := table.Swap(t.Context(), "k", []byte("1"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Swap(t.Context(), "k", []byte("x"), 0, 0); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("creating a key that exists gave %v", err)
	}
	second, err := table.Swap(t.Context(), "k", []byte("2"), 0, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Swap(t.Context(), "k", []byte("x"), 0, first); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("an old revision gave %v", err)
	}
	if e, err := table.Read(t.Context(), "k"); err != nil || string(e.Value) != "2" || e.Revision != second {
		t.Errorf("got %+v, %v", e, err)
	}
}

func race(t *testing.T, table kv.Table) {
	var won sync.Map
	var running sync.WaitGroup
	for i := range 16 {
		running.Go(func() {
			if _, err := table.Swap(t.Context(), "claim", []byte(fmt.Sprint(i)), 0, 0); err == nil {
				won.Store(i, true)
			} else if !errors.Is(err, kv.ErrConflict) {
				t.Error(err)
			}
		})
	}
	running.Wait()
	n := 0
	won.Range(func(k, _ any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of 16 won", n)
	}
}

func list(t *testing.T, table kv.Table) {
	for i := range 700 {
		put(t, table, fmt.Sprintf("seat.a.room%d.n%d", i%7, i), fmt.Sprint(i))
	}
	put(t, table, "seat.a.room3.n3", "new")
	put(t, table, "seat.b.room3.n3", "of another")
	for pattern, want := range map[string]int{
		"seat.a.room3.*": 100, "seat.a.>": 700, "seat.*.room3.n3": 2, "seat.a.room9.*": 0, "seat.a.*": 0, "seat.b.>": 1,
	} {
		got, err := table.List(t.Context(), pattern)
		if err != nil || len(got) != want {
			t.Errorf("%s: %d records, %v; want %d", pattern, len(got), err, want)
		}
		walked := map[string]kv.Record{}
		err = table.Walk(t.Context(), pattern, func(piece []kv.Record) {
			for _, r := range piece {
				walked[r.Key] = r
			}
		})
		if err != nil || len(walked) != want {
			t.Errorf("%s: %d records on a walk, %v; want %d", pattern, len(walked), err, want)
		}
		for _, r := range got {
			if string(walked[r.Key].Value) != string(r.Value) {
				t.Errorf("%s is %q on a walk", r.Key, walked[r.Key].Value)
			}
			if r.Key == "seat.a.room3.n3" && string(r.Value) != "new" {
				t.Errorf("%s has an old value %q", r.Key, r.Value)
			}
		}
	}
}

func watch(t *testing.T, table kv.Table) {
	var one, all recorder
	stop, err := table.Watch("seat.a.*", &one)
	if err != nil {
		t.Fatal(err)
	}
	stopAll, err := table.Watch("seat.>", &all)
	if err != nil {
		t.Fatal(err)
	}
	defer stopAll()
	// A subscription takes effect when the backend has seen it; a first write
	// that is heard proves it.
	eventually(t, "both hear", func() bool {
		put(t, table, "seat.a.probe", "")
		return len(one.all()) > 0 && len(all.all()) > 0
	})
	var want []uint64
	for i := range 50 {
		want = append(want, put(t, table, "seat.a.k", fmt.Sprint(i)))
		put(t, table, "seat.b.k", fmt.Sprint(i))
		put(t, table, "other.k", "")
	}
	of := func(r *recorder, key string) (revisions []uint64) {
		for _, c := range r.all() {
			if c.Key == key {
				revisions = append(revisions, c.Revision)
			}
		}
		return revisions
	}
	eventually(t, "all writes are told", func() bool {
		return slices.Equal(of(&one, "seat.a.k"), want) && slices.Equal(of(&all, "seat.a.k"), want) && len(of(&all, "seat.b.k")) == 50
	})
	if len(of(&one, "seat.b.k")) > 0 || len(of(&all, "other.k")) > 0 {
		t.Error("a watcher was told of what it did not ask for")
	}
	stop()
	put(t, table, "seat.a.k", "after")
	eventually(t, "the other still hears", func() bool { return len(of(&all, "seat.a.k")) == len(want)+1 })
	if got := of(&one, "seat.a.k"); len(got) != len(want) {
		t.Error("a stopped watcher was told")
	}
}

func purge(t *testing.T, table kv.Table) {
	put(t, table, "seat.a.n2.x", "other")
	put(t, table, "seat.b.n1.x", "older")
	through := put(t, table, "seat.a.n1.x", "old") // The last one that goes.
	put(t, table, "seat.a.n1.y", "new")
	if err := table.Purge(t.Context(), "seat.*.n1.*", through); err != nil {
		t.Fatal(err)
	}
	left, err := table.List(t.Context(), "seat.>")
	if err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
	if _, err := table.Read(t.Context(), "seat.a.n1.x"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a purged key gave %v", err)
	}
}

func expiry(t *testing.T, table kv.Table) {
	put(t, table, "stays", "x")
	// A busy machine may read later than the key lives.
	eventually(t, "a fresh key is there", func() bool {
		if _, err := table.Put(t.Context(), "lease", []byte("x"), time.Second); err != nil {
			t.Fatal(err)
		}
		_, err := table.Read(t.Context(), "lease")
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("a fresh key gave %v", err)
		}
		return err == nil
	})
	eventually(t, "the key has expired", func() bool {
		_, err := table.Read(t.Context(), "lease")
		return errors.Is(err, kv.ErrNotFound)
	})
	if _, err := table.Swap(t.Context(), "lease", []byte("y"), 0, 0); err != nil {
		t.Errorf("creating an expired key gave %v", err)
	}
	if _, err := table.Read(t.Context(), "stays"); err != nil {
		t.Errorf("a key without time to live gave %v", err)
	}
}

func badKeys(t *testing.T, table kv.Table) {
	for _, key := range []string{"", ".a", "a.", "a..b", "a b", "a.*", "a.>"} {
		if _, err := table.Put(t.Context(), key, nil, 0); !errors.Is(err, kv.ErrInvalidKey) {
			t.Errorf("key %q gave %v", key, err)
		}
	}
	for _, pattern := range []string{"", "a.>.b", "a..b", "a.*b"} {
		if _, err := table.List(t.Context(), pattern); !errors.Is(err, kv.ErrInvalidKey) {
			t.Errorf("pattern %q gave %v", pattern, err)
		}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}
