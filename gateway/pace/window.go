package pace

import "time"

// Window counts events within a span of time. A new span begins with the first event after the end of the
// last one. The zero value is ready. Not safe for concurrent use.
type Window struct {
	// since is the beginning of the span in Unix nanoseconds.
	since int64
	count uint8
}

// Exceeds counts one more event, and reports whether these are more than most within span.
func (w *Window) Exceeds(most uint8, span time.Duration, now time.Time) bool {
	if now.UnixNano()-w.since > int64(span) {
		*w = Window{since: now.UnixNano()}
	}
	if w.count <= most {
		w.count++
	}
	return w.count > most
}
