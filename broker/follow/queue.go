package follow

import (
	"sync"
)

// Queue is what waits for one goroutine, bounded in items and in bytes. What was taken out
// counts until it is done. Make it with [NewQueue]. Putting is safe for use by many goroutines;
// one takes.
type Queue[T any] struct {
	most      int
	mostBytes int64
	wake      chan struct{}

	mu      sync.Mutex
	waiting []Item[T]
	// spare is the slice of a batch that is done.
	spare []Item[T]
	items int
	bytes int64
}

// Item is one thing in a queue, with its size in bytes.
type Item[T any] struct {
	Value T
	Size  int
}

// NewQueue returns a queue of so many items and bytes.
func NewQueue[T any](items int, bytes int64) *Queue[T] {
	return &Queue[T]{most: max(items, 1), mostBytes: bytes, wake: make(chan struct{}, 1)}
}

// Put puts something of a size into the queue. It never waits; it reports false if there is no
// room.
func (q *Queue[T]) Put(value T, size int) bool {
	q.mu.Lock()
	if q.items >= q.most || q.bytes+int64(size) > q.mostBytes {
		q.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, Item[T]{value, size})
	q.items++
	q.bytes += int64(size)
	first := len(q.waiting) == 1
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// Take waits for what is in the queue and returns all of it, in order; false if over ends
// before. The caller says of each item when it is [Queue.Done], and may not keep the slice
// beyond the next call.
func (q *Queue[T]) Take(over <-chan struct{}) ([]Item[T], bool) {
	for {
		q.mu.Lock()
		batch := q.waiting
		if len(batch) > 0 {
			q.waiting, q.spare = q.spare[:0], batch
		}
		q.mu.Unlock()
		if len(batch) > 0 {
			return batch, true
		}
		select {
		case <-over:
			return nil, false
		case <-q.wake:
		}
	}
}

// Done gives back the room of an item that was taken, and lets its value go.
func (q *Queue[T]) Done(item *Item[T]) {
	q.mu.Lock()
	q.items--
	q.bytes -= int64(item.Size)
	q.mu.Unlock()
	*item = Item[T]{}
}

// Len is the number of items that wait or are not done.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items
}
