package load

import (
	"context"
	"time"
)

// pace says when things are due: the first at once, then so many a second. It is pure.
type pace struct {
	rate float64 // a second, more than 0
}

// due is when the nth thing is due, from the beginning.
func (p pace) due(n int) time.Duration {
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

// heldUp is how long a place may take to be had before it is the server that is waited for.
const heldUp = 100 * time.Microsecond

// dispatcher begins things when they are due, whatever became of those before, as long as
// there are places. Whose fault a delay is, it keeps apart: late is its own, and what it
// spent waiting for a place is the server's.
type dispatcher struct {
	pace   pace
	places chan struct{}
	late   *recorder
	now    func() time.Duration
}

// run calls begin for each thing that is due before end, from one goroutine, with its number
// and the moment at which it is due, and returns how long it waited for places. The callee
// gives a place back when the thing is done.
func (d *dispatcher) run(ctx context.Context, from, end time.Duration, begin func(n int, due time.Duration)) (held time.Duration) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	behind := false // because of a place that was waited for
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
