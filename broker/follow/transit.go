package follow

import (
	"time"

	"github.com/sluicehq/sluice/broker"
)

// A read of the log may be ahead of the live messages: retention may already have removed publications whose
// live messages are still on their way. Nothing is lost then. A gap notice would be wrong, and the live
// messages would be dropped because the position had moved past them. So the live messages get time to arrive
// before a gap is reported. The first one that arrives shows by itself whether something is missing before
// it.

// transitPatience is how long a live message may take from the log into the queue of its shard.
const transitPatience = 500 * time.Millisecond

// transitForgotten is how long after its end a wait still counts as the wait for the same position.
const transitForgotten = time.Minute

// transit is the wait for live messages that follow a position. The zero value waits for nothing.
type transit struct {
	after broker.Position
	// until is when messages that were on their way must be in the shard's queue. end is the latest end of
	// the wait.
	until, end time.Time
	// ahead is the number of messages put into the queue by until, valid if counted is set.
	ahead   uint64
	counted bool
}

// waits reports whether publications missing after a position may still arrive. passed is as in [Options].
func (t *transit) waits(after broker.Position, now time.Time, timeout time.Duration, passed func() (put, done uint64)) bool {
	// A wait that ended long ago says nothing about a new one at the same position.
	if t.after != after || t.end.IsZero() || now.Sub(t.end) > transitForgotten {
		*t = transit{after: after, until: now.Add(transitPatience), end: now.Add(max(timeout, transitPatience))}
	}
	if now.Before(t.until) || !now.Before(t.end) {
		return now.Before(t.until)
	}
	put, done := passed()
	if !t.counted {
		t.ahead, t.counted = put, true
	}
	return done < t.ahead
}

// OnItsWay reports whether publications that are missing after the position, and are no longer in the log,
// may still arrive as live messages. It reports true for 500 ms, and then until the shard has handled the
// messages that were in its queue at that time, but for no longer than a repair timeout. If it is true, the
// line reports [Awaited], and the repair reads again later. The caller holds the lock.
func (f *Follower[M]) OnItsWay() bool {
	o := &f.feed.opt
	return f.transit.waits(f.course.at, time.Now(), o.RepairTimeout, func() (put, done uint64) { return o.Passed(f.shard.number) })
}
