package follow

import (
	"time"

	"github.com/sluicehq/sluice/broker"
)

// A log that is read may be ahead of the live messages: it may have removed already what is still
// on its way. Nothing is missing then, and a gap would be told without need, and what comes be
// dropped behind it. So before a gap is told the live messages get the time to come. The first one
// that does says by itself whether something is missing before it.

// transitPatience is how long a live message may take from the log into the queue of its shard.
const transitPatience = 500 * time.Millisecond

// transitForgotten is how long after its end a wait is one for the same events.
const transitForgotten = time.Minute

// transit is the wait for what is missing behind a position. The zero value waits for nothing.
type transit struct {
	after broker.Position
	// until is when what was on its way is in the queue, and end when it is given up wherever
	// it is.
	until, end time.Time
	// ahead counts what was put into the queue until then, if that is known.
	ahead   uint64
	counted bool
}

// waits says whether what is missing behind a position may be on its way. passed is as in
// [Options].
func (t *transit) waits(after broker.Position, now time.Time, timeout time.Duration, passed func() (put, done uint64)) bool {
	// A wait that ended otherwise says nothing of one that begins much later.
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

// OnItsWay says whether what is missing behind the position, and is not in the log any more, may
// still come as live messages. It is true for a while, and as long as the shard has not got to what
// waited for it then, for the time at most that a repair has. Who is told so looks again; the repair
// reports [Awaited]. The lock is held.
func (f *Follower[M]) OnItsWay() bool {
	o := &f.feed.opt
	return f.transit.waits(f.course.at, time.Now(), o.RepairTimeout, func() (put, done uint64) { return o.Passed(f.shard.number) })
}
