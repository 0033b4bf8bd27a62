package follow

import (
	"iter"

	"github.com/sluicehq/sluice/broker/rank"
)

// Queue is a queue for one consuming goroutine, bounded in items and in bytes. An item that was taken counts
// until it is done. Make it with [NewQueue]. Put is safe for concurrent use; only one goroutine may take.
type Queue[T any] struct {
	most      int
	mostBytes int64
	wake      chan struct{}

	mu      rank.Mutex[rank.FeedQueue]
	waiting []item[T]
	// spare is the slice of the previous batch, for reuse.
	spare []item[T]
	items int
	bytes int64
	// put counts all items ever put in.
	put uint64
}

// item is one value in a queue, with its size in bytes.
type item[T any] struct {
	value T
	size  int
}

// NewQueue returns a queue that holds at most items values (at least one) and bytes bytes.
func NewQueue[T any](items int, bytes int64) *Queue[T] {
	return &Queue[T]{most: max(items, 1), mostBytes: bytes, wake: make(chan struct{}, 1)}
}

// Put appends a value of size bytes. It never blocks; it reports false if the queue is full.
func (q *Queue[T]) Put(value T, size int) bool {
	q.mu.Lock()
	if q.items >= q.most || q.bytes+int64(size) > q.mostBytes {
		q.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, item[T]{value, size})
	q.items++
	q.put++
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

// All returns the values of the queue, in order, until over is closed. Each value counts until the next one
// is requested.
func (q *Queue[T]) All(over <-chan struct{}) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			batch := q.take()
			for i := range batch {
				if !yield(batch[i].value) {
					return
				}
				q.done(&batch[i])
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-over:
				return
			case <-q.wake:
			}
		}
	}
}

// Batch calls f with each value that is in the queue now, in order. Each value counts until f returns. No
// other goroutine may take from the queue meanwhile.
func (q *Queue[T]) Batch(f func(T)) {
	batch := q.take()
	for i := range batch {
		f(batch[i].value)
		q.done(&batch[i])
	}
}

// take removes and returns all waiting items. The slice is reused after the next call.
func (q *Queue[T]) take() []item[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.waiting
	if len(batch) > 0 {
		q.waiting, q.spare = q.spare[:0], batch
	}
	return batch
}

// done frees the room of an item that was taken, and clears its value for the garbage collector.
func (q *Queue[T]) done(i *item[T]) {
	q.mu.Lock()
	q.items--
	q.bytes -= int64(i.size)
	q.mu.Unlock()
	*i = item[T]{}
}

// Len returns the number of items that wait or are not done.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items
}

// passed returns how many items were ever put in, and how many of them are done.
func (q *Queue[T]) passed() (put, done uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.put, q.put - uint64(q.items)
}

// Queues holds the queue of each shard of a feed.
type Queues[T any] []*Queue[T]

// NewQueues returns shards queues, each bounded by items and bytes.
func NewQueues[T any](shards, items int, bytes int64) Queues[T] {
	all := make(Queues[T], shards)
	for i := range all {
		all[i] = NewQueue[T](items, bytes)
	}
	return all
}

// Passed returns how many items were ever put into the queue of a shard, and how many of them are done. Items
// are done in the order in which they were put in.
func (all Queues[T]) Passed(shard int) (put, done uint64) { return all[shard].passed() }

// Len returns the number of items that wait, or are not done, in all queues.
func (all Queues[T]) Len() int {
	n := 0
	for _, q := range all {
		n += q.Len()
	}
	return n
}
