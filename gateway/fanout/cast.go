package fanout

import (
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/socket"
)

// cast is an event that is not in the log. It has no number and no place, is no base, and
// moves nobody forward: it goes to those who take it now, also while they are sent the past, and
// is nothing to anybody else.
type cast struct{ *Event }

// Cast gives an event that has no place in the log to all subscribers for whom it is meant.
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
		// A socket that is behind has no room, and what waits for it is for what can be told
		// to have been skipped.
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

// offer queues a frame, if a socket that conflates has room, and reports whether it took it.
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
