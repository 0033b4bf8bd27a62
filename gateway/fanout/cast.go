package fanout

import (
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/socket"
)

// cast is an ephemeral event, which is not in the log. It has no number and no position, is never a base, and
// changes no position. Subscriptions that can take it now get it, also those that are catching up; for others
// it is dropped.
type cast struct{ *Event }

// Cast delivers an ephemeral event to all subscribers that may get it.
func (l *Line) Cast(e *Event) { l.Post(cast{e}) }

// deliver implements [Prepared].
func (c cast) deliver(s *Shard, to *Subscribers) {
	c.foresee(&to.outlook)
	done, unheard, poisons := uint64(0), uint64(0), c.Part() == count.Poisoned
	to.mu.Lock()
	for i := range to.list {
		sub := &to.list[i]
		if !to.concerns(sub, c.Event) {
			continue
		}
		// A socket that is behind has no room. Its queue does not keep ephemeral events, because it could not
		// report those that it skips.
		if sub.state == behind || !s.offer(sub, c.Bare(sub.form.Dialect(), sub.form&Delta != 0), c.rules.Conflates) {
			unheard++
			continue
		}
		done++
		if poisons {
			to.restart(sub) // the client may have taken it for a base
		}
	}
	to.done(c)
	to.filters.forgetLast()
	to.mu.Unlock()
	s.Delivered.Add(done)
	s.Unheard.Add(unheard)
}

// offer queues a frame and reports whether the socket took it. A socket that conflates takes it only if it
// has room.
func (s *Shard) offer(sub *subscription, f *socket.Frame, conflates bool) bool {
	if !conflates {
		return s.push(sub.out, f)
	}
	switch sub.out.Offer(f) {
	case socket.Refused, socket.Dropped:
		return false
	case socket.Wakes:
		s.loop.dirty = append(s.loop.dirty, sub.out)
	case socket.Overflowed:
		s.loop.dirty = append(s.loop.dirty, sub.out)
		return false
	}
	return true
}

// passed implements [Prepared].
func (cast) passed(*Subscribers) {}
