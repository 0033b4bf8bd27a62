package fanout

import "github.com/sluicehq/sluice/gateway/socket"

// Standing is the state of a subscription, without what is in the outbox of its socket.
type Standing struct {
	Socket *socket.Socket
	// State is live, behind or catching.
	State string
	// Waiting is how many publications wait for the subscription outside its outbox, Skipped how many were
	// replaced by newer ones, and Oldest when the oldest of those that wait was stored, in Unix milliseconds,
	// 0 if not known.
	Waiting, Skipped int
	Oldest           int64
	// Place is the offset that the subscription has reached, and Head the one that the channel has reached.
	Place, Head uint64
	// Deltas: it takes part in delta compression.
	Deltas bool
}

// Standings calls each for every subscription of the channel. It holds the lock of the subscribers meanwhile,
// so each must be quick and take no other lock.
func (l *Line) Standings(each func(Standing)) {
	for i := range l.Shards {
		l.Shards[i].standings(each)
	}
}

func (s *Subscribers) standings(each func(Standing)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list {
		each(s.standing(&s.list[i]))
	}
}

// standing returns the state of one subscription. The caller holds the lock.
func (s *Subscribers) standing(sub *subscription) Standing {
	out := Standing{
		Socket: sub.out.Socket(), State: sub.state.String(), Waiting: s.posted, Place: s.last, Head: s.last, Deltas: sub.form&Delta != 0,
	}
	switch d := s.details[sub.out]; {
	case d == nil:
	case sub.state == behind:
		out.Waiting += len(d.queue.newest)
		out.Skipped, out.Place = d.queue.skipped, d.queue.before()
		for _, p := range d.queue.newest {
			if at := p.Pub.Time.UnixMilli(); out.Oldest == 0 || at < out.Oldest {
				out.Oldest = at
			}
		}
	case sub.state == catching && d.past != nil:
		out.Place = min(d.past.Place, s.last)
	}
	return out
}

// Posted counts the publications of the channel since this gateway began to follow it.
func (l *Line) Posted() uint64 { return l.posted.Load() }

// Count returns the number of subscriptions on this gateway.
func (l *Line) Count() (n int) {
	for i := range l.Shards {
		s := &l.Shards[i]
		s.mu.Lock()
		n += len(s.list)
		s.mu.Unlock()
	}
	return n
}
