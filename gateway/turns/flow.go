package turns

import (
	"math"
	"time"
)

const (
	// flowStep is how often it is decided how many may go on, and flowSpan how much of the rate may come
	// at once: little more than a step's worth, for live events wait until all of that is done.
	flowStep = time.Millisecond
	flowSpan = 1200 * time.Microsecond
	// flowLate is how late a goroutine may be that had nothing to do but to wake up. From
	// then on fewer go on.
	flowLate = time.Millisecond
	// flowSlower changes the rate for each flowLate that a step was late, flowFaster at a step that was not.
	flowSlower, flowFaster = 0.8, 1.03
	// flowRange is how much faster it may be than the least.
	flowRange = 8
	// flowLongest is the longest step after which as many may go on as the least says.
	flowLongest = 100 * time.Millisecond
)

// flow says how many may go on, by how late this process is: more while it is not, fewer while it is, and
// never fewer than the least. It is fed with times.
type flow struct {
	least float64 // in a second
	rate  float64
	has   float64
	last  time.Time
	// step is how long the last step took: what is less than the least of that must not be lost.
	step time.Duration
}

// fill adds what has come since it was asked last.
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

// most is how many may go on at once.
func (f *flow) most() float64 { return max(1, f.rate*flowSpan.Seconds(), f.least*f.step.Seconds()) }

// take lets one go on, if it may.
func (f *flow) take(now time.Time) bool {
	f.fill(now)
	if f.has < 1 {
		return false
	}
	f.has--
	return true
}

// judge changes the rate for the next step.
func (f *flow) judge(late time.Duration) {
	f.step = min(flowStep+max(late, 0), flowLongest)
	if late > flowLate {
		f.rate = max(f.rate*math.Pow(flowSlower, float64(late)/float64(flowLate)), f.least)
	} else {
		f.rate = min(f.rate*flowFaster, f.least*flowRange)
	}
}
