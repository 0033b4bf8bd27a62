package past

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/gateway/fanout"
)

const (
	// HoldTime is how long the first subscriptions of a connection wait for a resume, which
	// clients send right behind them. So what is replayed stands before what is live. Only the time counts
	// in which the client says nothing: as long as its messages are being handled, the resume may be the
	// next one.
	HoldTime = 50 * time.Millisecond
	// HoldAge is how old a connection may be for that, and how long a subscription waits at
	// most: one whose client says that a resume comes, or has other requests handled.
	HoldAge = 10 * time.Second
)

// Hold has the ways of subscriptions of a connection that wait for a resume. The zero value is
// empty. The caller guards it.
type Hold struct {
	ways []held
	// quiet is for how long the client has said nothing while ways were held, up to since. busy means
	// that a message of it is being handled.
	quiet time.Duration
	since time.Time
	busy  bool
}

type held struct {
	way *fanout.Way
	// said means that the client announced the resume.
	said bool
	// until is when it goes on at last, and quiet after how much quiet it does.
	until time.Time
	quiet time.Duration
}

// Add has a way wait. said means that the client announced a resume.
func (h *Hold) Add(p *fanout.Way, said bool, now time.Time) {
	h.listen(now)
	p.Held.Store(true)
	h.ways = append(h.ways, held{p, said, now.Add(HoldAge), h.quiet + HoldTime})
}

// Busy notes that a message is being handled, or no longer.
func (h *Hold) Busy(busy bool, now time.Time) {
	h.listen(now)
	h.busy = busy
}

// listen counts the quiet until now.
func (h *Hold) listen(now time.Time) {
	if !h.busy && len(h.ways) > 0 {
		h.quiet += max(now.Sub(h.since), 0)
	}
	h.since = now
}

// Wait is how long it takes until the first of them goes on if the client says nothing; not above 0 is
// no longer.
func (h *Hold) Wait(now time.Time) time.Duration {
	h.listen(now)
	wait, said := HoldAge, h.said()
	for _, w := range h.ways {
		wait = min(wait, h.left(w, said, now))
	}
	return wait
}

// left is what is left for one of them. said means that a resume was announced, which is not for that one
// alone.
func (h *Hold) left(w held, said bool, now time.Time) time.Duration {
	left := w.until.Sub(now)
	if h.busy || said {
		return left
	}
	return min(left, w.quiet-h.quiet)
}

func (h *Hold) said() bool { return slices.ContainsFunc(h.ways, func(w held) bool { return w.said }) }

// Due takes those who have waited long enough. unread means that something has come of the client which nobody
// has read: then it was not silent, but this process stood still, and the quiet begins anew. The caller wakes
// them, without the lock.
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

// Take ends the waiting of all. The caller wakes them, without the lock.
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

// Drop forgets those of a channel, to which the connection is not subscribed any more.
func (h *Hold) Drop(of *fanout.Line) {
	h.ways = slices.DeleteFunc(h.ways, func(w held) bool { return w.way.Line == of })
}

// Len is the number of those who wait.
func (h *Hold) Len() int { return len(h.ways) }
