package past

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

const (
	// HoldTime is how long the first subscriptions of a connection wait for a resume, which
	// clients send right behind them. So what is replayed stands before what is live.
	HoldTime = 100 * time.Millisecond
	// HoldAge is how old a connection may be for that, and how long subscriptions wait at
	// most: those whose client says that a resume comes, and those whose client has other
	// requests handled.
	HoldAge = 10 * time.Second
)

// Hold has the ways of subscriptions of a connection that wait for a resume. The zero value is
// empty. The caller guards it.
type Hold struct {
	ways  []*fanout.Way
	until time.Time
	// said means that the client says that the resume comes, busy that a message of it is
	// being handled: the resume may be the next one.
	said, busy bool
}

// Add has a way wait. said means that the client announced a resume.
func (h *Hold) Add(p *fanout.Way, said bool, now time.Time) {
	if len(h.ways) == 0 {
		h.until, h.said = now.Add(HoldAge), false
	}
	p.Held.Store(true)
	h.ways = append(h.ways, p)
	h.said = h.said || said
}

// Busy notes that a message is being handled, or no longer. It tells whether the time to wait
// begins anew.
func (h *Hold) Busy(busy bool) bool {
	h.busy = busy
	return !busy && len(h.ways) > 0
}

// Wait is how long the ways wait from now on if nothing happens; not above 0 is no longer.
func (h *Hold) Wait(now time.Time) time.Duration {
	left := h.until.Sub(now)
	if h.said {
		return left
	}
	return min(HoldTime, left)
}

// Late is how much longer they wait once that time is over.
func (h *Hold) Late(now time.Time) time.Duration {
	if !h.busy {
		return 0
	}
	return min(HoldTime, h.until.Sub(now))
}

// Drop forgets those of a channel, to which the connection is not subscribed any more.
func (h *Hold) Drop(of *fanout.Line) {
	h.ways = slices.DeleteFunc(h.ways, func(p *fanout.Way) bool { return p.Line == of })
}

// Len is the number of those who wait.
func (h *Hold) Len() int { return len(h.ways) }

// Take ends the waiting. The caller wakes the ways, without the lock.
func (h *Hold) Take() []*fanout.Way {
	ways := h.ways
	h.ways = nil
	for _, p := range ways {
		p.Held.Store(false)
	}
	return ways
}
