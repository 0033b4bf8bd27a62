package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/test/fault"
)

// recovering is a table that loses the newest records when it recovers: if the newest record of a key is
// gone, by age or by removal, an older one is back, with its revision, and may stay for ever.
type recovering struct {
	*kv.MemoryTable

	mu      sync.Mutex
	written map[string][]kv.Record
	back    map[string]kv.Record
}

func newRecovering() *recovering {
	return &recovering{MemoryTable: kv.NewMemoryTable(nil), written: map[string][]kv.Record{}, back: map[string]kv.Record{}}
}

func (t *recovering) note(key string, value []byte, revision uint64, err error) (uint64, error) {
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.written[key] = append(t.written[key], kv.Record{Key: key, Entry: kv.Entry{Value: slices.Clone(value), Revision: revision, Time: time.Now()}})
		delete(t.back, key)
	}
	return revision, err
}

func (t *recovering) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	revision, err := t.MemoryTable.Put(ctx, key, value, ttl)
	return t.note(key, value, revision, err)
}

func (t *recovering) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	t.mu.Lock()
	old, back := t.back[key]
	t.mu.Unlock()
	if back {
		if revision != old.Revision {
			return 0, kv.ErrConflict
		}
		revision = 0
	}
	next, err := t.MemoryTable.Swap(ctx, key, value, ttl, revision)
	return t.note(key, value, next, err)
}

func (t *recovering) Read(ctx context.Context, key string) (kv.Entry, error) {
	t.mu.Lock()
	old, back := t.back[key]
	t.mu.Unlock()
	if back {
		return old.Entry, nil
	}
	return t.MemoryTable.Read(ctx, key)
}

func (t *recovering) List(ctx context.Context, pattern string) ([]kv.Record, error) {
	out, err := t.MemoryTable.List(ctx, pattern)
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, old := range t.back {
		if kv.Matches(pattern, key) {
			out = append(out, old)
		}
	}
	return out, err
}

func (t *recovering) Walk(ctx context.Context, pattern string, piece func([]kv.Record)) error {
	all, err := t.List(ctx, pattern)
	piece(all)
	return err
}

func (t *recovering) Purge(ctx context.Context, pattern string, through uint64) error {
	t.mu.Lock()
	maps.DeleteFunc(t.back, func(key string, old kv.Record) bool { return old.Revision <= through && kv.Matches(pattern, key) })
	t.mu.Unlock()
	return t.MemoryTable.Purge(ctx, pattern, through)
}

// recover brings back what it can: for each key any record but the newest.
func (t *recovering) recover(rnd *rand.Rand) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, all := range t.written {
		_, back := t.back[key]
		if _, err := t.MemoryTable.Read(context.Background(), key); err == nil || back || len(all) < 2 {
			continue
		}
		t.back[key] = all[rnd.IntN(len(all)-1)]
		n++
	}
	return n
}

func (t *recovering) has(pattern string) int {
	all, _ := t.List(context.Background(), pattern)
	return len(all)
}

// startGhostly starts a gateway that clears its records away soon.
func startGhostly(t *testing.T, table kv.Table, node string) *gatewayT {
	t.Helper()
	return startWith(t, table, Options{Node: node, Lease: longLease, Tombstones: 8, Linger: 300 * time.Millisecond})
}

// TestTrust15WhatRecoveryBringsBackIsVoid lets members come and go until the gateways have cleared their
// records away, kills one gateway, and has the table recover again and again.
func TestTrust15WhatRecoveryBringsBackIsVoid(t *testing.T) {
	fault.Seeds(t, 15, func(t *testing.T, rnd *rand.Rand) {
		table := newRecovering()
		a, b, c := startGhostly(t, table, "a"), startGhostly(t, table, "b"), startGhostly(t, table, "c")
		want := []string{"stays-a", "stays-b"}
		a.join(t, "stays-a")
		b.join(t, "stays-b")
		for i := range 30 {
			g := []*gatewayT{a, b, c}[i%3]
			u := fmt.Sprint("u", i)
			g.join(t, u, u)
			channel := fmt.Sprint("another", i)
			for n := range 3 {
				g.SetCount("app", channel, 3-n)
				g.flush(t.Context())
			}
			g.SetCount("app", channel, 0)
			g.room.Leave(u)
			g.room.Leave(u)
		}
		c.join(t, "dies")
		eventually(t, "the living have cleared away", func() bool {
			return a.Stats().Cleared > 0 && b.Stats().Cleared > 0
		})
		agree(t, []string{"dies", "stays-a", "stays-b"}, a, b, c)
		c.die()
		expire("c", a, b)
		agree(t, want, a, b)
		eventually(t, "the dead one is swept", func() bool { return table.has(nodePattern("c")) == 0 })
		told := len(a.told()) + len(b.told())
		for range 5 {
			if table.recover(rnd) == 0 {
				t.Fatal("nothing came back")
			}
			registers{a.Roster}.Lost()
			for _, g := range []*gatewayT{a, b} {
				if err := g.room.sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				all, err := g.Channels(t.Context(), "app", "", nil)
				if err != nil || len(all) != 0 {
					t.Fatalf("channels %v, %v", all, err)
				}
			}
			newcomer := startGhostly(t, table, fmt.Sprint("d", table.has(">")))
			agree(t, want, a, b)
			if got := newcomer.members(); !slices.Equal(got, want) {
				t.Fatalf("a newcomer sees %v", got)
			}
			newcomer.room.Close()
			newcomer.Close(t.Context())
			eventually(t, "what came back is dismissed", func() bool {
				_, err := a.Channels(t.Context(), "app", "", nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, pattern := range []string{nodePattern("c"), appPattern("app")} {
					records, _ := table.List(t.Context(), pattern)
					for _, rec := range records {
						if s, n, ok := parse(rec.Key, rec.Value); ok && !n.Gone && !a.Roster.view.Load().counts(s.node, rec.Revision) {
							return false
						}
					}
				}
				return true
			})
		}
		if n := len(a.told()) + len(b.told()); n != told {
			t.Errorf("%d changes were told again: %v, %v", n-told, a.told(), b.told())
		}
		if n := a.Stats().Revivals + b.Stats().Revivals; n != 0 {
			t.Errorf("%d revivals", n)
		}
	})
}

// TestTrust15LivesThatNobodySawEnd starts a gateway after all others have been gone for longer than their
// leases: the end of their members and channels is told once, whether a channel is followed or not.
func TestTrust15LivesThatNobodySawEnd(t *testing.T) {
	t.Parallel()
	table := newRecovering()
	a, b := startGhostly(t, table, "a"), startGhostly(t, table, "b")
	a.join(t, "u1", "both")
	b.join(t, "both", "u2")
	b.SetCount("app", "elsewhere", 2)
	eventually(t, "all is written", func() bool { return table.has("seat.>") == 5 })
	a.die()
	b.die()
	// Their leases have expired long ago.
	if err := table.Purge(t.Context(), "lease.*", 1<<62); err != nil {
		t.Fatal(err)
	}
	c := startGhostly(t, table, "c")
	c.room.Close() // it follows no channel
	expire("a", c)
	expire("b", c)
	eventually(t, "the ends are told and nothing is left", func() bool { return len(c.told()) >= 5 && table.has("seat.>") == 0 })
	count := map[Kind]int{}
	for _, ch := range c.told() {
		count[ch.Kind]++
	}
	if count[Removed] != 3 || count[Vacated] != 1 || count[Added] != 0 || count[Occupied] != 0 {
		t.Errorf("told %v", c.told())
	}
}

// TestTrust16WhoLeftIsNotBuried: a gateway leaves on purpose. Another one, which knows it from its members,
// does not bury it after its lease.
func TestTrust16WhoLeftIsNotBuried(t *testing.T) {
	t.Parallel()
	table := newRecovering()
	a, b := startGhostly(t, table, "a"), startGhostly(t, table, "b")
	a.join(t, "u1")
	b.join(t, "u2")
	agree(t, []string{"u1", "u2"}, a, b)
	b.room.Leave("u2")
	agree(t, []string{"u1"}, a)
	b.Close(t.Context())
	told := len(a.told())
	for range 3 {
		if err := a.room.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		expire("b", a)
		a.check()
	}
	if n := a.Stats().Burials; n != 0 || len(a.told()) != told {
		t.Errorf("%d burials, and %v was told again", n, a.told()[told:])
	}
	eventually(t, "its records are dismissed", func() bool { return table.has(nodePattern("b")) == 0 })
}

// TestTrust16SeatsAfterABurial: a buried gateway writes once more, and dies before it renews its lease.
func TestTrust16SeatsAfterABurial(t *testing.T) {
	t.Parallel()
	table := newRecovering()
	a, b := startGhostly(t, table, "a"), startGhostly(t, table, "b")
	a.join(t, "u1")
	b.join(t, "u2")
	agree(t, []string{"u1", "u2"}, a, b)
	b.die()
	expire("b", a)
	agree(t, []string{"u1"}, a)
	for _, u := range []string{"u2", "u3"} {
		s := seat{"app", "presence-room", "b", u}
		if _, err := table.Put(t.Context(), s.key(), mustJSON(content{User: u, Info: json.RawMessage(`{}`)}), 0); err != nil {
			t.Fatal(err)
		}
	}
	// During the burial these seats are ignored. They are seen again later.
	eventually(t, "the seats are dismissed", func() bool {
		if err := a.room.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Users(t.Context(), "app", "presence-room"); err != nil || !slices.Equal(got, []string{"u1"}) {
			t.Fatalf("users %v, %v", got, err)
		}
		return table.has(nodePattern("b")) == 0
	})
}

// TestTrust16ASeatThatIsWrittenDuringASweep: a seat of a buried gateway is written after the sweep has
// passed, and another gateway sees the seat before it knows that the sweep is over.
func TestTrust16ASeatThatIsWrittenDuringASweep(t *testing.T) {
	t.Parallel()
	table := newRecovering()
	// The next look through all seats comes after two leases, which is too late.
	a := startWith(t, table, Options{Node: "a", Lease: 30 * time.Second, Tombstones: 8, Linger: 300 * time.Millisecond})
	stands := func(s *standing) {
		t.Helper()
		if err := a.amend(t.Context(), func(g *register) *register { return g.with("b", s) }); err != nil {
			t.Fatal(err)
		}
	}
	stands(&standing{Dead: true, Owed: true})
	s := seat{"app", "presence-room", "b", "u2"}
	if _, err := table.Put(t.Context(), s.key(), mustJSON(content{User: "u2", Info: json.RawMessage(`{}`)}), 0); err != nil {
		t.Fatal(err)
	}
	if err := a.room.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands(nil)
	eventually(t, "the seat is dismissed", func() bool { return table.has(nodePattern("b")) == 0 })
}

// TestTheRegisterIsWrittenAgain removes or replaces the register while gateways live: it is restored, and no
// member comes or goes.
func TestTheRegisterIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*kv.MemoryTable) error{
		"removed": func(table *kv.MemoryTable) error { return table.Purge(context.Background(), registerKey, 1<<62) },
		"replaced": func(table *kv.MemoryTable) error {
			_, err := table.Put(context.Background(), registerKey, []byte("x"), 0)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := kv.NewMemoryTable(nil)
			a, b := startGhostly(t, table, "a"), startGhostly(t, table, "b")
			a.join(t, "u1")
			b.join(t, "u2")
			agree(t, []string{"u1", "u2"}, a, b)
			if err := spoil(table); err != nil {
				t.Fatal(err)
			}
			eventually(t, "both are in the register again", func() bool {
				e, err := table.Read(t.Context(), registerKey)
				g, ok := readRegister(e)
				return err == nil && ok && g.alive("a") && g.alive("b")
			})
			b.join(t, "u3")
			agree(t, []string{"u1", "u2", "u3"}, a, b)
			for _, c := range append(a.told(), b.told()...) {
				if c.Kind == Removed {
					t.Errorf("told %v", c)
				}
			}
		})
	}
}
