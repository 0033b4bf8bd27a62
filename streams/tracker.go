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
	// suspect: the log contradicts what it said before. It gives an offset out again
	// with a later time, or does not know of the message that was seen last. Retention
	// and clocks of servers explain that, or it has lost its tail: the leader must be
	// asked.
	suspect
)

// tracker follows the order of one channel. It is a plain value: offsets go in,
// verdicts come out.
type tracker struct {
	last uint64
	// seen is the last message that was delivered; last is above it after a gap.
	seen mark
}

// judge says what a live message means. It changes nothing.
func (t *tracker) judge(offset, prev uint64, at time.Time) verdict {
	switch {
	case offset <= t.last && (t.seen.offset == 0 || !at.After(t.seen.time)):
		return drop
	case offset <= t.last:
		return suspect
	case prev > t.last:
		return repair
	case prev < t.seen.offset:
		return suspect
	default:
		return deliver
	}
}

// advance notes that a message was delivered.
func (t *tracker) advance(offset uint64, at time.Time) {
	t.last, t.seen.offset, t.seen.time = offset, offset, at
}

// skip notes that everything up to an offset was told to be missing.
func (t *tracker) skip(offset uint64) { t.last = offset }

// forget notes that the log need not have the message that was seen last.
func (t *tracker) forget() { t.seen = mark{} }
