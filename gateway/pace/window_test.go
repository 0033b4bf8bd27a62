package pace

import (
	"testing"
	"time"
)

// TestAWindowCountsWithinItsSpan: a number is allowed within each span, which begins with the first of them.
func TestAWindowCountsWithinItsSpan(t *testing.T) {
	const most, span = 3, time.Second
	var w Window
	now := time.Unix(1000, 0)
	for i, c := range []struct {
		later   time.Duration
		exceeds bool
	}{
		{0, false}, {0, false}, {span / 2, false}, {span / 2, true}, {0, true}, // the end of the span belongs to it
		{1, false}, {span - 1, false}, {0, false}, {0, true}, {1, true},
		{2 * span, false},
	} {
		now = now.Add(c.later)
		if got := w.Exceeds(most, span, now); got != c.exceeds {
			t.Errorf("time %d exceeds the limit: %t, want %t", i, got, c.exceeds)
		}
	}
	// A count that overflows does not start again.
	w = Window{}
	for i := range 1000 {
		if got := w.Exceeds(255-1, span, now); got != (i >= 254) {
			t.Fatalf("time %d exceeds the limit: %t", i, got)
		}
	}
}
