package follow

import "time"

// Found is what came of a look at the log, as the line of the channel sees it.
type Found uint8

const (
	// Failed: the log could not be read.
	Failed Found = iota
	// Nothing: it has nothing new, though there must be; a copy that is behind may have said so.
	Nothing
	// Awaited: something is missing that the log does not have any more, and that may be on its
	// way, see [Follower.OnItsWay].
	Awaited
	// Progress: publications were given, or a gap.
	Progress
	// Turned: where to read is another place now; what was read says nothing.
	Turned
	// Doubtful: what was given last is not where it was. The log may have lost it.
	Doubtful
	// Complete: nothing is missing any more.
	Complete
)

// Do is what a repair does next.
type Do uint8

const (
	// Read reads the log behind what was given.
	Read Do = iota
	// Inquire finds out what became of what was given last, or where a message is.
	Inquire
	// Ask reads the next publication from where the answer is the truth.
	Ask
	// GiveUp goes on behind what cannot be read.
	GiveUp
	// End is the end of the repair.
	End
)

// Step is what a repair does next, and after which pause.
type Step struct {
	Do    Do
	After time.Duration
}

const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 200 * time.Millisecond
	// maxStale is how often a copy of the log may have nothing new before its leader is asked.
	maxStale = 3
)

// Repair decides how a repair goes on. It is a plain value: what was found goes in, the next
// step comes out. Make it with [NewRepair].
type Repair struct {
	timeout time.Duration
	until   time.Time
	pause   time.Duration
	stale   int
	// again is what is done again after a failure.
	again Do
}

// NewRepair returns a repair that begins with a step and gives up when the log could not be
// read for so long.
func NewRepair(first Do, timeout time.Duration, now time.Time) Repair {
	return Repair{timeout: timeout, until: now.Add(timeout), pause: shortestPause, again: first}
}

// Next says what follows on what was found. The time without a connection to the log does not
// count: nobody could be better off elsewhere by being told of a gap that is repaired as soon
// as there is one.
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
		// How long that goes on is no matter of the log.
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
