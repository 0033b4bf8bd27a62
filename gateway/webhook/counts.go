package webhook

import "time"

const (
	// countsFor is how long the last number of a channel is remembered: longer than what
	// one gateway tells may come behind what another tells later.
	countsFor = 30 * time.Second
	// maxCounts bounds the channels whose numbers are remembered.
	maxCounts = 16384
)

// counts leaves out numbers of subscriptions that were overtaken: each gateway tells what it
// changed, so an older number may come into the queue behind a newer one. It has no clock and
// no lock; times are those of storing.
type counts map[string]number

type number struct {
	version uint64
	count   int
	stored  time.Time
}

// stale says whether a number is older than one before it, or the same once more.
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

// forget drops what is old, or everything if nothing is.
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
