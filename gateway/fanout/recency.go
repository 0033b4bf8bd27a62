package fanout

import (
	"container/list"

	"github.com/sluicehq/sluice/broker/rank"
)

// Recency bounds the channels of one connection that hold bases. Subscriptions
// store no bases of their own, so there is no memory to give back; what is bounded
// is what the client must keep. It is only made for a connection with more
// channels than the limit, and is safe for use by several goroutines.
type Recency struct {
	mu    rank.Mutex[rank.Recency]
	most  int
	order *list.List // of *subscribers, the most recently used first
	at    map[*Subscribers]*list.Element
}

func NewRecency(most int) *Recency {
	return &Recency{most: most, order: list.New(), at: map[*Subscribers]*list.Element{}}
}

// has tells whether a channel holds its bases.
func (r *Recency) has(s *Subscribers) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[s] != nil
}

// Touch notes that a channel is used. The least recently used channel loses its
// bases when there are too many.
func (r *Recency) Touch(s *Subscribers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[s]; ok {
		r.order.MoveToFront(e)
		return
	}
	r.at[s] = r.order.PushFront(s)
	if r.order.Len() > r.most {
		last := r.order.Back()
		delete(r.at, r.order.Remove(last).(*Subscribers))
	}
}

// drop forgets a channel that was left.
func (r *Recency) drop(s *Subscribers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[s]; ok {
		r.order.Remove(e)
		delete(r.at, s)
	}
}
