package past

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

const (
	// HoldTime is how long the first subscriptions of a connection wait for a resume, which clients send
	// right after them. So replayed events precede live ones. Only time in which the client is silent counts:
	// while one of its messages is being handled, the next one may be the resume.
	HoldTime = 50 * time.Millisecond
	// HoldAge is the age of a connection up to which its subscriptions wait without an announced resume. It
	// is also the longest time that a subscription waits, with an announced resume or while other requests
	// are handled.
	HoldAge = 10 * time.Second
)

// Hold has the ways of a connection's subscriptions that wait for a resume. The zero value is empty. Not safe
// for concurrent use.
type Hold struct {
	ways []held
	// quiet is how long the client was silent while ways were held, up to since. busy means that a message of
	// the client is being handled.
	quiet time.Duration
	since time.Time
	busy  bool
}

type held struct {
	way *fanout.Way
	// said means that the client announced the resume.
	said bool
	// until is when the way is released at the latest, and quiet the value of Hold.quiet at which it is
	// released.
	until time.Time
	quiet time.Duration
}

// Add holds a way. said means that the client announced a resume.
func (h *Hold) Add(p *fanout.Way, said bool, now time.Time) {
	h.listen(now)
	p.Held.Store(true)
	h.ways = append(h.ways, held{p, said, now.Add(HoldAge), h.quiet + HoldTime})
}

// Busy notes that a message begins or ends being handled.
func (h *Hold) Busy(busy bool, now time.Time) {
	h.listen(now)
	h.busy = busy
}

// listen adds the silence up to now.
func (h *Hold) listen(now time.Time) {
	if !h.busy && len(h.ways) > 0 {
		h.quiet += max(now.Sub(h.since), 0)
	}
	h.since = now
}

// Wait returns the time until the first way is released if the client stays silent; 0 or less means now.
func (h *Hold) Wait(now time.Time) time.Duration {
	h.listen(now)
	wait, said := HoldAge, h.said()
	for _, w := range h.ways {
		wait = min(wait, h.left(w, said, now))
	}
	return wait
}

// left returns the remaining time of one way. said means that a resume was announced for any of them.
func (h *Hold) left(w held, said bool, now time.Time) time.Duration {
	left := w.until.Sub(now)
	if h.busy || said {
		return left
	}
	return min(left, w.quiet-h.quiet)
}

func (h *Hold) said() bool { return slices.ContainsFunc(h.ways, func(w held) bool { return w.said }) }

// Due removes and returns the ways that have waited long enough. unread means that something of the client
// has arrived and was not read: then the client was not silent, but this process was suspended, and the
// silence begins anew. The caller wakes the ways after it has unlocked.
func (h *Hold) Due(now time.Time, unread bool) []*fanout.Way {
	h.listen(now)
	if unread {
		for i := range h.ways {
			h.ways[i].quiet = h.quiet + HoldTime
		}
	}
	said := h.said()
	return h.take(func(w held) bool { return h.left(w, said, now) <= 0 })
}

// Take removes and returns all ways. The caller wakes them after it has unlocked.
func (h *Hold) Take() []*fanout.Way { return h.take(func(held) bool { return true }) }

func (h *Hold) take(which func(held) bool) (ways []*fanout.Way) {
	h.ways = slices.DeleteFunc(h.ways, func(w held) bool {
		if !which(w) {
			return false
		}
		w.way.Held.Store(false)
		ways = append(ways, w.way)
		return true
	})
	return ways
}

// Drop removes the ways of a channel that the connection has unsubscribed from.
func (h *Hold) Drop(of *fanout.Line) {
	h.ways = slices.DeleteFunc(h.ways, func(w held) bool { return w.way.Line == of })
}

// Len returns the number of ways.
func (h *Hold) Len() int { return len(h.ways) }
