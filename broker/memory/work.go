package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

const (
	// maxTasks and maxTaskBytes bound one queue.
	maxTasks     = 65536
	maxTaskBytes = 64 << 20
	// dedupWindow is how long the id of a task is remembered.
	dedupWindow = 2 * time.Minute
)

// Work is a [broker.Work] in the memory of this process. It outlives nothing; it is
// for servers that stand alone, and for tests.
type Work struct {
	mu     sync.Mutex
	queues map[string]*workQueue
}

type workQueue struct {
	// turn is held by the one who takes.
	turn     chan struct{}
	sequence uint64
	bytes    int
	tasks    []*waiting
	ids      map[string]time.Time
	// changed is closed and replaced when there is something to do.
	changed chan struct{}
}

// waiting is a task that is not done.
type waiting struct {
	task     broker.Task
	sequence uint64
	stored   time.Time
	// taker is the one to whom it was handed.
	taker *int
}

var _ broker.Work = (*Work)(nil)

// NewWork returns empty queues.
func NewWork() *Work { return &Work{queues: map[string]*workQueue{}} }

// queue returns a queue. The caller holds the lock.
func (w *Work) queue(name string) *workQueue {
	q := w.queues[name]
	if q == nil {
		q = &workQueue{turn: make(chan struct{}, 1), ids: map[string]time.Time{}, changed: make(chan struct{})}
		w.queues[name] = q
	}
	return q
}

// Put implements [broker.Work].
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	q, now := w.queue(queue), time.Now()
	for id, at := range q.ids {
		if now.Sub(at) > dedupWindow {
			delete(q.ids, id)
		}
	}
	for _, t := range tasks {
		if _, known := q.ids[t.ID]; known && t.ID != "" {
			continue
		}
		if len(q.tasks) >= maxTasks || q.bytes+len(t.Body) > maxTaskBytes {
			return fmt.Errorf("%w: queue %.100q is full", broker.ErrUnavailable, queue)
		}
		if t.ID != "" {
			q.ids[t.ID] = now
		}
		q.sequence++
		q.bytes += len(t.Body)
		q.tasks = append(q.tasks, &waiting{task: t, sequence: q.sequence, stored: now})
	}
	q.wake()
	return nil
}

func (q *workQueue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Take implements [broker.Work].
func (w *Work) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	w.mu.Lock()
	q := w.queue(queue)
	w.mu.Unlock()
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-q.turn }()
	me := new(int)
	for {
		w.mu.Lock()
		var next *waiting
		under := 0
		for _, t := range q.tasks {
			if t.taker == me {
				under++
			} else if next == nil {
				next = t
			}
		}
		changed := q.changed
		if next != nil && under < pending {
			next.taker = me
		} else {
			next = nil
		}
		w.mu.Unlock()
		if next != nil {
			do(broker.Taken{Task: next.task, Sequence: next.sequence, Stored: next.stored, Done: func(context.Context) error {
				w.done(q, next)
				return nil
			}})
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *Work) done(q *workQueue, t *waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range q.tasks {
		if other == t {
			q.tasks = append(q.tasks[:i], q.tasks[i+1:]...)
			q.bytes -= len(t.task.Body)
			q.wake()
			return
		}
	}
}
