package follow

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// TestWhatMayBeOnItsWay: the wait ends once the queue has passed what it held, not earlier, or with the
// time-out of a repair.
func TestWhatMayBeOnItsWay(t *testing.T) {
	start := time.Unix(1000, 0)
	here, there := broker.Position{Epoch: "e", Offset: 5}, broker.Position{Epoch: "e", Offset: 7}
	type look struct {
		at        broker.Position
		after     time.Duration
		put, done uint64
		waits     bool
	}
	const soon, late, timeout = transitPatience - 1, transitPatience, 10 * time.Second
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"nothing waits", []look{{here, 0, 0, 0, true}, {here, soon, 0, 0, true}, {here, late, 0, 0, false}, {here, late, 0, 0, false}}},
		{"something does", []look{{here, 0, 9, 1, true}, {here, late, 12, 9, true}, {here, late, 20, 11, true}, {here, late, 30, 12, false}}},
		{"for too long", []look{{here, 0, 9, 1, true}, {here, late, 9, 1, true}, {here, timeout, 9, 1, false}}},
		{"behind another place", []look{{here, 0, 0, 0, true}, {here, late, 0, 0, false}, {there, late, 0, 0, true}, {there, 2 * late, 0, 0, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w transit
			for i, l := range c.looks {
				if got := w.waits(l.at, start.Add(l.after), timeout, func() (put, done uint64) { return l.put, l.done }); got != l.waits {
					t.Errorf("look %d: %t, want %t", i, got, l.waits)
				}
			}
		})
	}
}

// TestAQueueCountsWhatPasses: a taken item has not passed before it is done.
func TestAQueueCountsWhatPasses(t *testing.T) {
	all := NewQueues[int](2, 8, 1<<10)
	for i := range 3 {
		all[1].Put(i, 1)
	}
	all[1].Batch(func(i int) {
		if put, done := all.Passed(1); put != 3 || done != uint64(i) {
			t.Errorf("at %d: %d put and %d done", i, put, done)
		}
	})
	if put, done := all.Passed(1); put != 3 || done != 3 {
		t.Errorf("%d put and %d done", put, done)
	}
	if put, done := all.Passed(0); put != 0 || done != 0 {
		t.Errorf("%d put and %d done in the other one", put, done)
	}
}
