package webhook

import "time"

const (
	// countsFor is how long the last number of a channel is remembered. It is longer than a number of one
	// gateway can arrive after a later number of another.
	countsFor = 30 * time.Second
	// maxCounts bounds the channels whose numbers are remembered.
	maxCounts = 16384
)

// counts detects outdated subscription counts. Each gateway reports the counts that it changed, so an older
// count may come into the queue after a newer one. It has no clock and no lock; times are those of storing.
type counts map[string]number

type number struct {
	version uint64
	count   int
	stored  time.Time
}

// stale reports whether a count is older than the last one, or equal to it.
func (c counts) stale(e *Event, stored time.Time) bool {
	if e.Version == 0 {
		return false
	}
	last, known := c[e.Channel]
	if known && stored.Sub(last.stored) < countsFor &&
		(e.Version < last.version || e.Version == last.version && e.Count == last.count) {
		return true
	}
	if !known && len(c) >= maxCounts {
		c.forget(stored)
	}
	c[e.Channel] = number{e.Version, e.Count, stored}
	return false
}

// forget drops old counts, or all if none is old.
func (c counts) forget(now time.Time) {
	for channel, n := range c {
		if now.Sub(n.stored) >= countsFor {
			delete(c, channel)
		}
	}
	if len(c) >= maxCounts {
		clear(c)
	}
}
