package presence

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// deaf is a table that withholds changes of seats while now is set.
type deaf struct {
	kv.Table
	now *atomic.Bool
}

func (d deaf) Watch(pattern string, w kv.Watcher) (func(), error) {
	if strings.HasPrefix(pattern, "seat.") {
		w = hears{w, d.now}
	}
	return d.Table.Watch(pattern, w)
}

type hears struct {
	kv.Watcher
	deaf *atomic.Bool
}

func (h hears) Changed(rec kv.Record) {
	if !h.deaf.Load() {
		h.Watcher.Changed(rec)
	}
}

// TestWhatWasMissedForLongIsNotToldAgain: a gateway that finds out late that another one occupied a channel
// does not repeat that webhook before its own members, since its deduplication id has been forgotten by then.
func TestWhatWasMissedForLongIsNotToldAgain(t *testing.T) {
	for _, c := range []struct {
		about  string
		missed time.Duration
		again  bool
	}{{"a moment", time.Second, true}, {"long", 10 * time.Minute, false}} {
		t.Run(c.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, isDeaf := kv.NewMemoryTable(nil), &atomic.Bool{}
				members := func(string) bool { return true }
				a := startWith(t, table, Options{Node: "a", Members: members, Lease: longLease})
				b := startWith(t, deaf{table, isDeaf}, Options{Node: "b", Members: members, Lease: longLease})
				isDeaf.Store(true)
				a.join(t, "u1")
				<-time.After(c.missed)
				isDeaf.Store(false)
				b.room.Lost()
				agree(t, []string{"u1"}, a, b)
				b.join(t, "u2")
				agree(t, []string{"u1", "u2"}, a, b)
				if again := slices.ContainsFunc(b.told(), func(c Change) bool { return c.Kind == Occupied }); again != c.again {
					t.Errorf("b told %+v", b.told())
				}
			})
		})
	}
}
