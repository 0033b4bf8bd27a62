package fanout

import "github.com/sluicehq/sluice/gateway/socket"

// Standing is how a subscription stands, beside what is in the outbox of its socket.
type Standing struct {
	Socket *socket.Socket
	// State is live, behind or catching.
	State string
	// Waiting is how many publications wait for it here, Skipped how many of those before gave
	// way to newer ones, and Oldest when the oldest of them was stored, in Unix milliseconds, 0
	// if that is not known.
	Waiting, Skipped int
	Oldest           int64
	// Place is how far it is, and Head how far the others are.
	Place, Head uint64
	// Deltas: it takes part in delta compression.
	Deltas bool
}

// Standings calls each for every subscription of the channel. It holds the lock of the
// subscribers meanwhile, so each must be quick and ask nobody.
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

// standing is that of one subscription. The caller holds the lock.
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

// Posted counts the publications of the channel since it was followed here.
func (l *Line) Posted() uint64 { return l.posted.Load() }

// Count is the number of subscriptions here.
func (l *Line) Count() (n int) {
	for i := range l.Shards {
		s := &l.Shards[i]
		s.mu.Lock()
		n += len(s.list)
		s.mu.Unlock()
	}
	return n
}
