package kv

import (
	"fmt"
	"testing"
	"time"
)

// TestWhatHasExpiredTakesNoRoom: keys that are written once and never read again are removed some time after
// they have expired, while others stay.
func TestWhatHasExpiredTakesNoRoom(t *testing.T) {
	now := time.Unix(0, 0)
	table := NewMemoryTable(func() time.Time { return now })
	put := func(key string, ttl time.Duration) {
		t.Helper()
		if _, err := table.Put(t.Context(), key, nil, ttl); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		put(fmt.Sprint("stays.", i), 0)
	}
	for i := range 20_000 {
		put(fmt.Sprint("goes.", i), time.Second)
		now = now.Add(10 * time.Millisecond)
	}
	// 200 records are alive.
	if n := len(table.records); n > 1000 {
		t.Errorf("%d records are kept, of which 200 count", n)
	}
	if all, err := table.List(t.Context(), "stays.*"); err != nil || len(all) != 100 {
		t.Errorf("%d of 100 that stay are left, %v", len(all), err)
	}
}
