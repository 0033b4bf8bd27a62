package streams

import "time"

// verdict is what the tracker says about a live message.
type verdict uint8

const (
	// deliver: it is the next one.
	deliver verdict = iota
	// drop: it was delivered before.
	drop
	// repair: messages between last and its prev were not seen.
	repair
	// suspect: an offset that was given out before comes again with a later
	// time; the log may have lost its tail. The leader must be asked.
	suspect
)

// tracker follows the order of one channel. It is a plain value: offsets go in,
// verdicts come out.
type tracker struct {
	last     uint64
	lastTime time.Time
}

// judge says what a live message means. It changes nothing.
func (t *tracker) judge(offset, prev uint64, at time.Time) verdict {
	switch {
	case offset <= t.last && !at.After(t.lastTime):
		return drop
	case offset <= t.last:
		return suspect
	case prev > t.last:
		return repair
	default:
		// prev equals last, or lies below it because everything up to and
		// including last was removed after it had been delivered.
		return deliver
	}
}

// advance notes that a message was delivered.
func (t *tracker) advance(offset uint64, at time.Time) {
	t.last, t.lastTime = offset, at
}
