package streams

import (
	"sync"
	"sync/atomic"
	"time"
)

// staleFailure is the age at which a failure does not count any more. A load balancer that checks readiness may be what keeps
// publishers away because of it.
const staleFailure = 30 * time.Second

// outcome records whether writing to a stream works, by the results of the last writes. A stream that has lost its quorum may
// still describe itself as healthy.
type outcome struct {
	what    string
	app     string // the affected app, empty for all
	failing atomic.Bool
	// mu is held while failing and the problem change together.
	mu sync.Mutex
	// failed is when the last write failed, in Unix nanoseconds.
	failed atomic.Int64
}

// note records the result of a write. For a success it usually costs one atomic load.
func (o *outcome) note(l *Log, err error) {
	if err == nil && !o.failing.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
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

// expire removes a failure that was not followed by another write for staleFailure.
func (o *outcome) expire(l *Log, now time.Time) {
	if o.failing.Load() && now.UnixNano()-o.failed.Load() > int64(staleFailure) {
		o.note(l, nil)
	}
}
