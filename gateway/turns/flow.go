package turns

import (
	"math"
	"time"
)

const (
	// flowStep is the time between two decisions on the rate, and flowSpan the part of the rate that is
	// admitted at once: little more than a step's worth, because live events wait until all of that is done.
	flowStep = time.Millisecond
	flowSpan = 1200 * time.Microsecond
	// flowLate is how late a goroutine may wake up that had nothing else to do. If it is later, the rate
	// falls.
	flowLate = time.Millisecond
	// flowSlower is the factor of the rate for each flowLate of lateness, flowFaster that of a step that was
	// in time.
	flowSlower, flowFaster = 0.8, 1.03
	// flowRange is the highest rate, as a multiple of the least.
	flowRange = 8
	// flowLongest is the longest step for which the least rate is made up in full.
	flowLongest = 100 * time.Millisecond
)

// flow says how many may continue, by how late this process is: the rate rises while it is in time, and falls
// while it is late, never below the least. It is a plain value that is given the times.
type flow struct {
	least float64 // a second
	rate  float64
	has   float64
	last  time.Time
	// step is how long the last step took. The least rate must hold over the whole of it.
	step time.Duration
}

// fill adds what has become available since the last call.
func (f *flow) fill(now time.Time) {
	if f.last.IsZero() {
		f.rate = f.least
		f.has = f.most()
	}
	if d := now.Sub(f.last); d > 0 {
		f.has = min(f.has+f.rate*d.Seconds(), f.most())
		f.last = now
	}
}

// most returns how many may continue at once.
func (f *flow) most() float64 { return max(1, f.rate*flowSpan.Seconds(), f.least*f.step.Seconds()) }

// take admits one, if one is available.
func (f *flow) take(now time.Time) bool {
	f.fill(now)
	if f.has < 1 {
		return false
	}
	f.has--
	return true
}

// judge sets the rate of the next step.
func (f *flow) judge(late time.Duration) {
	f.step = min(flowStep+max(late, 0), flowLongest)
	if late > flowLate {
		f.rate = max(f.rate*math.Pow(flowSlower, float64(late)/float64(flowLate)), f.least)
	} else {
		f.rate = min(f.rate*flowFaster, f.least*flowRange)
	}
}
