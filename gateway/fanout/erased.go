package fanout

import "github.com/sluicehq/sluice/broker"

// erased tells the shards of a channel that its past was removed.
type erased struct{ broker.Position }

// Erase makes the shards forget the channel's past up to the offset of at. The epoch of at is that of the
// channel from then on. Subscribers notice nothing.
func (l *Line) Erase(at broker.Position) { l.Post(&erased{at}) }

// weight implements [Prepared].
func (e *erased) weight() int { return 64 }

// deliver implements [Prepared].
func (e *erased) deliver(s *Shard, to *Subscribers) {
	to.mu.Lock()
	defer to.mu.Unlock()
	to.done(e)
	// Subscriptions that are catching up will find that a part of their way is gone.
	for o, d := range to.details {
		if d.past != nil {
			d.past.erase(e)
			s.loop.later = append(s.loop.later, job{to: to, behind: o})
		}
	}
}

// passed implements [Prepared].
func (e *erased) passed(s *Subscribers) {
	s.epoch, s.void, s.isVoid = e.Epoch, min(e.Offset, s.last), true
	if e.has(s.cached) {
		s.cached = nil
	}
}

// has reports whether an event, which may be nil, was removed.
func (e *erased) has(p *Event) bool {
	return p != nil && (p.Pub.Offset <= e.Offset || p.Pub.Epoch != e.Epoch)
}
