package hub

import (
	"container/list"

	"github.com/sluicehq/sluice/broker/rank"
)

// recency bounds the channels of one connection that hold bases. Subscriptions
// store no bases of their own, so there is no memory to give back; what is bounded
// is what the client must keep. It is only made for a connection with more
// channels than the limit, and is safe for use by several goroutines.
type recency struct {
	mu    rank.Mutex[rank.Recency]
	most  int
	order *list.List // of *subscribers, the most recently used first
	at    map[*subscribers]*list.Element
}

func newRecency(most int) *recency {
	return &recency{most: most, order: list.New(), at: map[*subscribers]*list.Element{}}
}

// has tells whether a channel holds its bases.
func (r *recency) has(s *subscribers) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[s] != nil
}

// touch notes that a channel is used. The least recently used channel loses its
// bases when there are too many.
func (r *recency) touch(s *subscribers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[s]; ok {
		r.order.MoveToFront(e)
		return
	}
	r.at[s] = r.order.PushFront(s)
	if r.order.Len() > r.most {
		last := r.order.Back()
		delete(r.at, r.order.Remove(last).(*subscribers))
	}
}

// drop forgets a channel that was left.
func (r *recency) drop(s *subscribers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[s]; ok {
		r.order.Remove(e)
		delete(r.at, s)
	}
}
