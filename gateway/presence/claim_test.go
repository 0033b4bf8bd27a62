package presence

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// absent is a table that may fail to store a swap, or store it and lose the answer.
type absent struct {
	kv.Table
	mu sync.Mutex
	// fate decides what happens to a swap.
	fate func(key string, value []byte) (stored, answered bool)
}

func (a *absent) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	a.mu.Lock()
	stored, answered := a.fate(key, value)
	a.mu.Unlock()
	if !stored {
		return 0, kv.ErrUnavailable
	}
	revision, err := a.Table.Swap(ctx, key, value, ttl, revision)
	if !answered {
		return 0, kv.ErrUnavailable
	}
	return revision, err
}

// TestTrustAClaimWhoseAnswerIsLost: before, every gateway took such a claim for another one's, and none
// acted.
func TestTrustAClaimWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fates []struct{ stored, answered bool } // the last one stays
		first bool
		fails bool
	}{
		{"the answer comes", []struct{ stored, answered bool }{{true, true}}, true, false},
		{"it is lost once", []struct{ stored, answered bool }{{true, false}, {true, true}}, true, false},
		{"it is never stored at first", []struct{ stored, answered bool }{{false, false}, {false, false}, {true, true}}, true, false},
		{"lost, and then not stored", []struct{ stored, answered bool }{{true, false}, {false, false}}, true, false},
		{"nothing is ever stored", []struct{ stored, answered bool }{{false, false}}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := kv.NewMemoryTable(nil)
			fates := c.fates
			shaky := &absent{Table: table}
			shaky.fate = func(key string, _ []byte) (bool, bool) {
				if !strings.HasPrefix(key, "claim.") {
					return true, true
				}
				f := fates[0]
				if len(fates) > 1 {
					fates = fates[1:]
				}
				return f.stored, f.answered
			}
			one, other := start(t, shaky, "one"), start(t, table, "other")
			patient := patience
			if c.fails {
				patient = 2 * time.Second // it would be tried for ever
			}
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			defer cancel()
			first, err := one.Claim(ctx, "app", "cache-x", "cache_miss", "epoch/1")
			if first != c.first || (err != nil) != c.fails {
				t.Errorf("got %v, %v", first, err)
			}
			if !c.fails {
				if again, err := one.Claim(t.Context(), "app", "cache-x", "cache_miss", "epoch/1"); again || err != nil {
					t.Errorf("claimed twice: %v", err)
				}
			}
			if second, err := other.Claim(t.Context(), "app", "cache-x", "cache_miss", "epoch/1"); err != nil || second != c.fails {
				t.Errorf("the other one: %v, %v", second, err)
			}
			if next, err := other.Claim(t.Context(), "app", "cache-x", "cache_miss", "epoch/2"); err != nil || !next {
				t.Errorf("the next period: %v, %v", next, err)
			}
		})
	}
}

func TestTrustAClaimIsNotTriedForEver(t *testing.T) {
	shaky := &absent{Table: kv.NewMemoryTable(nil), fate: func(key string, _ []byte) (bool, bool) {
		return !strings.HasPrefix(key, "claim."), !strings.HasPrefix(key, "claim.")
	}}
	g := start(t, shaky, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Claim(ctx, "app", "c", "w", "v"); err == nil {
		t.Error("a claim nobody waits for succeeded")
	}
	ended := make(chan error, 1)
	go func() {
		_, err := g.Claim(context.Background(), "app", "c", "w", "v")
		ended <- err
	}()
	g.die()
	if err := <-ended; !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestTrustABurialWhoseAnswerIsLost: the members of the dead gateway leave all the same, and webhooks say so.
func TestTrustABurialWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	table := kv.NewMemoryTable(nil)
	lost := 0
	shaky := &absent{Table: table, fate: func(key string, value []byte) (bool, bool) {
		if key == registerKey && strings.Contains(string(value), `"d":true`) && lost == 0 {
			lost++
			return true, false
		}
		return true, true
	}}
	a, b := start(t, table, "a"), start(t, shaky, "b")
	a.join(t, "u1")
	b.join(t, "u2")
	agree(t, []string{"u1", "u2"}, a, b)
	a.die()
	expire("a", b)
	agree(t, []string{"u2"}, b)
	eventually(t, "somebody tells that u1 left", func() bool {
		expire("a", b)
		for _, c := range b.told() {
			if c.Kind == Removed && c.User == "u1" {
				return true
			}
		}
		return false
	})
	if lost != 1 {
		t.Errorf("%d answers were lost, want 1", lost)
	}
}
