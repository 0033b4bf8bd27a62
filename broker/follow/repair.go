package follow

import "time"

// Found is the result of one read of the log, as the line of the channel judges it.
type Found uint8

const (
	// Failed: the log could not be read.
	Failed Found = iota
	// Nothing: no new publication was read, though there must be one. A replica that lags may have answered.
	Nothing
	// Awaited: publications are missing that the log no longer has, but they may still arrive as live
	// messages, see [Follower.OnItsWay].
	Awaited
	// Progress: publications or a gap were given.
	Progress
	// Turned: the place to read from has changed; the result of this read proves nothing.
	Turned
	// Doubtful: the last delivered publication is not at its position. The log may have lost it.
	Doubtful
	// Complete: nothing is missing any more.
	Complete
)

// Do is the next action of a repair.
type Do uint8

const (
	// Read reads the log after the position.
	Read Do = iota
	// Inquire finds out what became of the last delivered publication, or where a message is.
	Inquire
	// Ask reads the next publication from the authoritative copy of the log.
	Ask
	// GiveUp continues after what cannot be read.
	GiveUp
	// End ends the repair.
	End
)

// Step is the next action of a repair, and the pause before it.
type Step struct {
	Do    Do
	After time.Duration
}

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 200 * time.Millisecond
	// maxStale is how many reads in a row may bring nothing before the authoritative copy is asked.
	maxStale = 3
)

// Repair decides the steps of a repair. It is a plain value without I/O: the result of a step goes in, the
// next step comes out. Make it with [NewRepair].
type Repair struct {
	timeout time.Duration
	until   time.Time
	pause   time.Duration
	stale   int
	// again is the action that is retried after a failure.
	again Do
}

// NewRepair returns a repair whose first action is first. It gives up when the log could not be read for
// timeout.
func NewRepair(first Do, timeout time.Duration, now time.Time) Repair {
	return Repair{timeout: timeout, until: now.Add(timeout), pause: shortestPause, again: first}
}

// Next returns the step that follows a result. Time without a connection to the log does not count towards
// the timeout: a gap notice would not help the clients then, because no other gateway could serve them better
// and the repair continues after the reconnection.
func (r *Repair) Next(found Found, now time.Time, connected bool) Step {
	switch found {
	case Complete:
		return Step{Do: End}
	case Doubtful:
		return Step{Do: Inquire}
	case Turned:
		r.again = Read
		return Step{Do: Read}
	case Progress:
		*r = NewRepair(Read, r.timeout, now)
		return Step{Do: Read}
	case Awaited:
		// The wait for live messages has its own bound, in [Follower.OnItsWay].
		r.again, r.until = Read, now.Add(r.timeout)
	case Nothing:
		r.again = Read
		if r.stale++; r.stale >= maxStale {
			return Step{Do: Ask}
		}
	}
	if !connected {
		r.until = now.Add(r.timeout)
	}
	if !now.Before(r.until) {
		return Step{Do: GiveUp}
	}
	step := Step{Do: r.again, After: r.pause}
	r.pause = min(2*r.pause, longestPause)
	return step
}
