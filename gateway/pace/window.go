package pace

import "time"

// Window counts what happens within a span of time, which begins anew with the first time after the last one has
// ended. The zero value is ready. It belongs to one goroutine at a time.
type Window struct {
	// since is the beginning in Unix nanoseconds.
	since int64
	count uint8
}

// Exceeds counts one more time, and tells whether that is more than most within span.
func (w *Window) Exceeds(most uint8, span time.Duration, now time.Time) bool {
	if now.UnixNano()-w.since > int64(span) {
		*w = Window{since: now.UnixNano()}
	}
	if w.count <= most {
		w.count++
	}
	return w.count > most
}
