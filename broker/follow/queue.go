package follow

import (
	"iter"

	"github.com/sluicehq/sluice/broker/rank"
)

// Queue is what waits for one goroutine, bounded in items and in bytes. What was taken out
// counts until it is done. Make it with [NewQueue]. Putting is safe for use by many goroutines;
// one takes.
type Queue[T any] struct {
	most      int
	mostBytes int64
	wake      chan struct{}

	mu      rank.Mutex[rank.FeedQueue]
	waiting []item[T]
	// spare is the slice of a batch that is done.
	spare []item[T]
	items int
	bytes int64
	// put counts what was ever put in.
	put uint64
}

// item is one thing in a queue, with its size in bytes.
type item[T any] struct {
	value T
	size  int
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

// All returns what comes through the queue, in order, until over ends. Each of it counts until
// the next one is asked for.
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

// Batch gives what is in the queue now to f, in order. Each of it counts until f returns. Nobody
// else may take meanwhile.
func (q *Queue[T]) Batch(f func(T)) {
	batch := q.take()
	for i := range batch {
		f(batch[i].value)
		q.done(&batch[i])
	}
}

// take takes out what waits. The slice is used again after the next call.
func (q *Queue[T]) take() []item[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.waiting
	if len(batch) > 0 {
		q.waiting, q.spare = q.spare[:0], batch
	}
	return batch
}

// done gives back the room of an item that was taken, and lets its value go.
func (q *Queue[T]) done(i *item[T]) {
	q.mu.Lock()
	q.items--
	q.bytes -= int64(i.size)
	q.mu.Unlock()
	*i = item[T]{}
}

// Len is the number of items that wait or are not done.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items
}

// passed counts what was ever put in, and what of it is done.
func (q *Queue[T]) passed() (put, done uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.put, q.put - uint64(q.items)
}

// Queues are those of the shards of a feed.
type Queues[T any] []*Queue[T]

// NewQueues returns so many queues, each of so many items and bytes.
func NewQueues[T any](shards, items int, bytes int64) Queues[T] {
	all := make(Queues[T], shards)
	for i := range all {
		all[i] = NewQueue[T](items, bytes)
	}
	return all
}

// Passed counts what was ever put into the queue of a shard, and what of it is done, which
// comes in the same order.
func (all Queues[T]) Passed(shard int) (put, done uint64) { return all[shard].passed() }

// Len is the number of items that wait in all of them.
func (all Queues[T]) Len() int {
	n := 0
	for _, q := range all {
		n += q.Len()
	}
	return n
}
