package streams

import (
	"sync/atomic"
	"time"
)

// staleFailure is the age at which a failure says nothing any more. Who asks for
// readiness may be the one that keeps the writers away because of it.
const staleFailure = 30 * time.Second

// outcome is whether writing to a stream works, by what became of the last writes. A
// stream that lost its quorum may go on to describe itself as if nothing were wrong.
type outcome struct {
	what    string
	app     string // that it concerns, empty for all
	failing atomic.Bool
	// failed is when the last write failed, in Unix nanoseconds.
	failed atomic.Int64
}

// note takes in what became of a write. Success is the rule and costs a load.
func (o *outcome) note(l *Log, err error) {
	switch {
	case err != nil:
		o.failed.Store(time.Now().UnixNano())
		o.failing.Store(true)
		l.appProblem(o.app, o.what, err)
	case o.failing.Load():
		o.failing.Store(false)
		l.appProblem(o.app, o.what, nil)
	}
}

// expire forgets a failure after which nobody has tried for long.
func (o *outcome) expire(l *Log, now time.Time) {
	if o.failing.Load() && now.UnixNano()-o.failed.Load() > int64(staleFailure) {
		o.note(l, nil)
	}
}
