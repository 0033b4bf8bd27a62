package streams

import "time"

// verdict is what to do with a live message.
type verdict uint8

const (
	// deliver: the message is the next one.
	deliver verdict = iota
	// drop: the message was delivered before.
	drop
	// repair: messages between last and the predecessor of this one are missing.
	repair
	// suspect: the log contradicts itself. It has used an offset again with a later time, or the message names a
	// predecessor older than the last one seen. Retention or the clocks of servers may explain that, or the log has
	// lost its tail. The leader must be asked.
	suspect
)

// tracker follows the order of the messages of one channel. It is a plain value without a lock or a clock.
type tracker struct {
	last uint64
	// seen is the last delivered message. After a gap, last is above its offset.
	seen mark
}

// judge decides what to do with a live message. It changes nothing.
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

// advance records that a message was delivered.
func (t *tracker) advance(offset uint64, at time.Time) {
	t.last, t.seen.offset, t.seen.time = offset, offset, at
}

// skip records that everything up to an offset was reported as missing.
func (t *tracker) skip(offset uint64) { t.last = offset }

// forget records that the log need not have the last delivered message any more.
func (t *tracker) forget() { t.seen = mark{} }
