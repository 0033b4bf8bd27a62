package past

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

const (
	// HoldTime is how long the first subscriptions of a connection wait for a resume, which
	// clients send right behind them. So what is replayed stands before what is live.
	HoldTime = 50 * time.Millisecond
	// HoldAge is how old a connection may be for that, and how long subscriptions wait at
	// most: those whose client says that a resume comes, and those whose client has other
	// requests handled.
	HoldAge = 10 * time.Second
)

// Hold has the ways of subscriptions of a connection that wait for a resume. The zero value is
// empty. The caller guards it.
type Hold struct {
	ways  []held
	until time.Time
	// busy means that a message of the client is being handled, late that the time to wait was
	// over meanwhile: the resume may be the next one.
	busy, late bool
}

type held struct {
	way *fanout.Way
	// said means that the client announced the resume.
	said bool
}

// Add has a way wait. said means that the client announced a resume.
func (h *Hold) Add(p *fanout.Way, said bool, now time.Time) {
	if len(h.ways) == 0 {
		h.until, h.late = now.Add(HoldAge), false
	}
	p.Held.Store(true)
	h.ways = append(h.ways, held{p, said})
}

// Busy notes that a message is being handled, or no longer. It tells whether the time to wait
// begins anew.
func (h *Hold) Busy(busy bool) (anew bool) {
	if h.busy = busy; !busy {
		anew, h.late = h.late && len(h.ways) > 0, false
	}
	return anew
}

// Wait is how long the ways wait from now on if nothing happens; not above 0 is no longer.
func (h *Hold) Wait(now time.Time) time.Duration {
	left := h.until.Sub(now)
	if h.said() {
		return left
	}
	return min(HoldTime, left)
}

// Late is how much longer they wait once that time is over.
func (h *Hold) Late(now time.Time) time.Duration {
	switch {
	case h.said():
		return h.until.Sub(now)
	case h.busy:
		h.late = true
		return min(HoldTime, h.until.Sub(now))
	}
	return 0
}

func (h *Hold) said() bool { return slices.ContainsFunc(h.ways, func(w held) bool { return w.said }) }

// Drop forgets those of a channel, to which the connection is not subscribed any more.
func (h *Hold) Drop(of *fanout.Line) {
	h.ways = slices.DeleteFunc(h.ways, func(w held) bool { return w.way.Line == of })
}

// Len is the number of those who wait.
func (h *Hold) Len() int { return len(h.ways) }

// Take ends the waiting. The caller wakes the ways, without the lock.
func (h *Hold) Take() []*fanout.Way {
	ways := make([]*fanout.Way, len(h.ways))
	for i, w := range h.ways {
		ways[i] = w.way
		w.way.Held.Store(false)
	}
	h.ways = nil
	return ways
}
