package lives_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

// unsteady is a table that fails for a while. Its failing writes may be stored all the same.
type unsteady struct {
	*table
	reads, swaps int // failures left
	stores       bool
	// late is a write with a lost answer, which is stored when the next one comes.
	late func()
	lags bool
}

func (u *unsteady) Read(ctx context.Context, key string) (kv.Entry, error) {
	if u.reads > 0 {
		u.reads--
		return kv.Entry{}, fmt.Errorf("%w: no leader", kv.ErrUnavailable)
	}
	return u.table.Read(ctx, key)
}

func (u *unsteady) Swap(ctx context.Context, key string, value []byte, ttl time.Duration, revision uint64) (uint64, error) {
	if u.late != nil {
		u.late()
		u.late = nil
	}
	if u.swaps == 0 {
		return u.table.Swap(ctx, key, value, ttl, revision)
	}
	u.swaps--
	if u.lags {
		u.late = func() { _, _ = u.table.Swap(context.WithoutCancel(ctx), key, value, ttl, revision) }
	}
	if u.stores {
		if _, err := u.table.Swap(ctx, key, value, ttl, revision); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%w: no answer", kv.ErrUnavailable)
}

// TestTime01ErasingWaitsForATable: while the servers of the table elect a leader, a removal is retried and
// done once, however many attempts that takes, even if a write was stored without an answer.
func TestTime01ErasingWaitsForATable(t *testing.T) {
	r := newRig(t)
	u := &unsteady{table: r.table}
	l := r.gatewayOn(u)
	first, err := l.Reset(t.Context(), "app", "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []unsteady{{reads: 3}, {swaps: 2}, {swaps: 1, stores: true}, {reads: 1, swaps: 2, stores: true}, {swaps: 1, lags: true}} {
		u.reads, u.swaps, u.stores, u.lags = c.reads, c.swaps, c.stores, c.lags
		next, err := l.Reset(t.Context(), "app", "c")
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if next.Previous != first.Present || next.Present == first.Present {
			t.Errorf("%+v: from %q to %q, and it was %q", c, next.Previous, next.Present, first.Present)
		}
		first = next
	}
	u.reads = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.Purge(ctx, "app", "c", 0); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("a table that never answers: %v", err)
	}
}
