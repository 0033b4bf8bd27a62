package fanout

import (
	"container/list"

	"github.com/sluicehq/sluice/broker/rank"
)

// Recency bounds the channels of one connection that hold bases. Subscriptions store no bases, so this saves
// no memory of the server: it bounds what the client must keep. It exists only for a connection that exceeded
// the limit. Safe for concurrent use.
type Recency struct {
	mu    rank.Mutex[rank.Recency]
	most  int
	order *list.List // of *Subscribers, the most recently used first
	at    map[*Subscribers]*list.Element
}

// NewRecency returns a Recency that lets most channels hold bases.
func NewRecency(most int) *Recency {
	return &Recency{most: most, order: list.New(), at: map[*Subscribers]*list.Element{}}
}

// has reports whether a channel holds its bases.
func (r *Recency) has(s *Subscribers) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[s] != nil
}

// Touch notes that a channel is used. If there are too many, the least recently used one loses its bases.
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

// drop forgets a channel that was unsubscribed from.
func (r *Recency) drop(s *Subscribers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[s]; ok {
		r.order.Remove(e)
		delete(r.at, s)
	}
}
