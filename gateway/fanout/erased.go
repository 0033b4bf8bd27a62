package fanout

import "github.com/sluicehq/sluice/broker"

// erased tells the shards of a channel that its past was removed.
type erased struct{ broker.Position }

// Erase lets go of what the shards have of a channel's past, up to a place. The epoch is that of
// the channel from then on. Subscribers notice nothing.
func (l *Line) Erase(at broker.Position) { l.Post(&erased{at}) }

// weight implements [Prepared].
func (e *erased) weight() int { return 64 }

// deliver implements [Prepared].
func (e *erased) deliver(s *Shard, to *Subscribers) {
	to.mu.Lock()
	defer to.mu.Unlock()
	to.done(e)
	// Those on their way find out what they cannot have any more.
	for o, d := range to.details {
		if d.past != nil {
			d.past.Epoch = e.Epoch
			s.loop.later = append(s.loop.later, job{to: to, behind: o})
		}
	}
}

// passed implements [Prepared].
func (e *erased) passed(s *Subscribers) {
	s.epoch = e.Epoch
	if s.cached != nil && (s.cached.Pub.Offset <= e.Offset || s.cached.Pub.Epoch != e.Epoch) {
		s.cached = nil
	}
}
