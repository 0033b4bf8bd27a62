package streams

import "sync/atomic"

// outcome is whether writing to a stream works, by what became of the last writes. A
// stream that lost its quorum may go on to describe itself as if nothing were wrong.
type outcome struct {
	what    string
	app     string // that it concerns, empty for all
	failing atomic.Bool
}

// note takes in what became of a write. Success is the rule and costs a load.
func (o *outcome) note(l *Log, err error) {
	switch {
	case err != nil:
		o.failing.Store(true)
		l.appProblem(o.app, o.what, err)
	case o.failing.Load():
		o.failing.Store(false)
		l.appProblem(o.app, o.what, nil)
	}
}
