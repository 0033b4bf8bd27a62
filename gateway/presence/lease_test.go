package presence

import (
	"testing"
	"time"
)

// TestWhatIsStoredIsNotedWhileMoreIsTold: a gateway sends changes without a pause, so that one of them is
// always not stored yet. The note of what it has told follows with a small delay: everything after it is told
// again when the gateway dies, and duplicates are recognised only for minutes.
func TestWhatIsStoredIsNotedWhileMoreIsTold(t *testing.T) {
	for _, waits := range []time.Duration{0, time.Second, 20 * time.Second} {
		r, began := &Roster{}, time.Unix(1000, 0)
		for n := range 100 {
			now := began.Add(time.Duration(n) * 3 * time.Second)
			r.spoken = append(r.spoken, renewal{now, uint64(n + 1)})
			told := time.Duration(r.told(now.Add(-waits))) * 3 * time.Second
			if behind := now.Sub(began) - told; behind > waits+owing+3*time.Second {
				t.Fatalf("with %v until it is stored, what was told is noted with a delay of %v", waits, behind)
			}
		}
	}
}
