package load

import (
	"context"
	"time"
)

// pace computes when things are due: the first at once, then rate per second.
type pace struct {
	rate float64 // per second, above 0
}

// due returns when the nth thing is due, relative to the beginning.
func (p pace) due(n int) time.Duration {
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

// heldUp is the wait for a place beyond which the delay counts as the server's.
const heldUp = 100 * time.Microsecond

// dispatcher begins things when they are due, whatever became of earlier ones, as long as there are places. It
// separates delays: late is its own, and waiting for a place is the server's.
type dispatcher struct {
	pace   pace
	places chan struct{}
	late   *recorder
	now    func() time.Duration
}

// run calls begin for each thing that is due before end, from one goroutine, with its number and its due time,
// and returns how long it waited for places. The callee releases the place when the thing is done.
func (d *dispatcher) run(ctx context.Context, from, end time.Duration, begin func(n int, due time.Duration)) (held time.Duration) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	behind := false // because it waited for a place
	for n := 0; ; n++ {
		due := from + d.pace.due(n)
		if due >= end {
			return held
		}
		now := d.now()
		if wait := due - now; wait > 0 {
			behind = false
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return held
			}
			now = d.now()
		}
		if !behind {
			d.late.record(0, now-due)
		}
		select {
		case d.places <- struct{}{}:
		default:
			select {
			case d.places <- struct{}{}:
			case <-ctx.Done():
				return held
			}
			if waited := d.now() - now; waited > heldUp {
				held += waited
				behind = true
			}
		}
		if ctx.Err() != nil {
			<-d.places
			return held
		}
		begin(n, due)
	}
}
