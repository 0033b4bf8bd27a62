package kv

import (
	"context"
	"time"
)

// Turns lets everybody have a turn, a few at a time: who has had one comes again when all
// others have. The zero value is ready. It is not safe for use by several goroutines.
type Turns[T any] struct{ waiting []T }

// Next returns up to n of those whose turn it is. all is asked for everybody when a round
// is over; who comes meanwhile waits for the next one.
func (t *Turns[T]) Next(n int, all func() []T) []T {
	if len(t.waiting) == 0 {
		t.waiting = all()
	}
	n = min(n, len(t.waiting))
	out := t.waiting[:n:n]
	if t.waiting = t.waiting[n:]; len(t.waiting) == 0 {
		t.waiting = nil
	}
	return out
}

// Every calls do, until ctx ends, for n of those whose turn it is each time that an interval
// is over.
func (t *Turns[T]) Every(ctx context.Context, interval time.Duration, n int, all func() []T, do func(T)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, x := range t.Next(n, all) {
				do(x)
			}
		}
	}
}
