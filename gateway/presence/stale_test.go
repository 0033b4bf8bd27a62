package presence

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// TestTrust01RoomsAreStaleOnce: a room waits once for its lookup. Before, each stale room searched the list
// of all stale rooms.
func TestTrust01RoomsAreStaleOnce(t *testing.T) {
	r := &Roster{syncs: make(chan struct{}, 1)}
	rooms := make([]*Room, 100)
	for i := range rooms {
		rooms[i] = &Room{roster: r}
	}
	for range 3 {
		for _, m := range rooms {
			m.Lost()
		}
	}
	if len(r.stale) != len(rooms) {
		t.Fatalf("%d rooms wait, want %d", len(r.stale), len(rooms))
	}
	for i, want := range rooms {
		if got := r.nextStale(); got != want {
			t.Fatalf("room %d is another one", i)
		}
		if i == 0 {
			want.Lost() // it may be lost again as soon as it is looked up
		}
	}
	if got := r.nextStale(); got != rooms[0] {
		t.Error("what was lost while a room was looked up is forgotten")
	}
	if r.nextStale() != nil || r.stale != nil {
		t.Error("rooms wait that do not")
	}
}

// TestTrust01ClaimsOfStrangersAreBounded: claims are rate-limited. Before, each made-up name of a cache
// channel left a record for a day.
func TestTrust01ClaimsOfStrangersAreBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	table := kv.NewMemoryTable(func() time.Time { return now })
	r := &Roster{opt: Options{Table: table, Node: "n1", Now: func() time.Time { return now }}, ctx: t.Context()}
	claims := func() int {
		all, err := table.List(t.Context(), "claim.>")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for i := range 3 * claimRate {
		first, err := r.Claim(t.Context(), "app-1", fmt.Sprint("cache-", i), "cache_miss", "e/0")
		if !first || errors.Is(err, ErrManyClaims) != (i >= claimRate) {
			t.Fatalf("claim %d: first %v, %v", i, first, err)
		}
	}
	if n := claims(); n != claimRate {
		t.Errorf("%d records, want %d", n, claimRate)
	}
	if n := r.Stats().Unclaimed; n != 2*claimRate {
		t.Errorf("%d misses are counted that nobody claimed, want %d", n, 2*claimRate)
	}
	if _, err := r.Claim(t.Context(), "app-2", "cache-0", "cache_miss", "e/0"); err != nil {
		t.Errorf("another app: %v", err)
	}
	now = now.Add(time.Second)
	if first, err := r.Claim(t.Context(), "app-1", "cache-0", "cache_miss", "e/0"); first || err != nil {
		t.Errorf("claimed before: %v, %v", first, err)
	}
	now = now.Add(claimFor)
	if n := claims(); n != 0 {
		t.Errorf("%d records are left after %v", n, claimFor)
	}
}
