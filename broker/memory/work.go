package memory

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

const (
	// maxTasks and maxTaskBytes bound one queue; maxTaskBytes also bounds the tasks that are handed out and
	// not done. Tasks beyond a bound are refused; stored tasks are not displaced.
	maxTasks     = 65536
	maxTaskBytes = 64 << 20
	// maxTask is the largest body in bytes.
	maxTask = 8 << 20
	// maxTaskID is the longest id in bytes.
	maxTaskID = 256
	// taskAge is how long a task waits before it is dropped.
	taskAge = 24 * time.Hour
)

// Work is a [broker.Work] in the memory of this process. Its queues are lost with the process; it is for
// servers that run alone, and for tests. Make it with [NewWork].
type Work struct {
	// now is time.Now unless a test has another clock.
	now func() time.Time

	mu     sync.Mutex
	queues map[string]*workQueue
	closed bool
	end    chan struct{}
	// takers counts the running calls of Take. It is raised only while closed is false.
	takers sync.WaitGroup
}

// workQueue is one queue. Work.mu guards it.
type workQueue struct {
	// turn holds a token while a call of Take is served.
	turn     chan struct{}
	sequence uint64
	bytes    int
	// tasks holds the tasks that are not done. next is the first one not handed to the present taker.
	tasks list.List
	next  *list.Element
	// taker numbers the calls of Take that were served. under and underBytes count the tasks that the present
	// one was handed and has not done.
	taker             int
	under, underBytes int
	ids               dedup
	// changed wakes the present taker.
	changed chan struct{}
}

// waiting is a task that is not done.
type waiting struct {
	task     broker.Task
	sequence uint64
	stored   time.Time
	// taker is the number of the last taker to which the task was handed.
	taker int
	done  bool
}

var _ broker.Work = (*Work)(nil)

// NewWork returns a Work without queues.
func NewWork() *Work {
	return &Work{now: time.Now, queues: map[string]*workQueue{}, end: make(chan struct{})}
}

// queue returns a queue and makes it if needed. The caller holds the lock.
func (w *Work) queue(name string) *workQueue {
	q := w.queues[name]
	if q == nil {
		q = &workQueue{
			turn: make(chan struct{}, 1), changed: make(chan struct{}, 1),
			ids: newDedup(DefaultDedupWindow, maxTasks),
		}
		w.queues[name] = q
	}
	return q
}

// Put implements [broker.Work].
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) (stored int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, broker.ErrClosed
	}
	q, now := w.queue(queue), w.now()
	q.ids.expire(now)
	w.expire(q, now)
	defer q.wake()
	for i, t := range tasks {
		switch {
		case len(t.ID) > maxTaskID:
			return i, fmt.Errorf("%w: the id of a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.ID), maxTaskID)
		case len(t.Body) > maxTask:
			return i, fmt.Errorf("%w: a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.Body), maxTask)
		}
		key := newDedupKey(t.ID)
		if _, known := q.ids.lookup(key); known && t.ID != "" {
			continue
		}
		if q.tasks.Len() >= maxTasks || q.bytes+len(t.Body) > maxTaskBytes {
			return i, fmt.Errorf("%w: %.100q", broker.ErrQueueFull, queue)
		}
		if t.ID != "" {
			q.ids.add(key, now, broker.Position{})
		}
		q.sequence++
		q.bytes += len(t.Body)
		e := q.tasks.PushBack(&waiting{task: t, sequence: q.sequence, stored: now})
		if q.next == nil {
			q.next = e
		}
	}
	return len(tasks), nil
}

func (q *workQueue) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// Take implements [broker.Work].
func (w *Work) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)
	}
	w.takers.Add(1)
	defer w.takers.Done()
	q := w.queue(queue)
	w.mu.Unlock()
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-ctx.Done():
		return ctx.Err()
	case <-w.end:
		return fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)
	}
	w.mu.Lock()
	q.taker++
	q.next, q.under, q.underBytes = q.tasks.Front(), 0, 0
	w.mu.Unlock()
	for ctx.Err() == nil {
		if t, ok := w.hand(q, pending); ok {
			do(t)
			continue
		}
		select {
		case <-q.changed:
		case <-ctx.Done():
		case <-w.end:
			return fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)
		}
	}
	return ctx.Err()
}

// hand returns the next task if one may be handed out.
func (w *Work) hand(q *workQueue, pending int) (broker.Taken, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire(q, w.now())
	e := q.next
	if w.closed || e == nil || q.under >= pending || q.underBytes >= maxTaskBytes {
		return broker.Taken{}, false
	}
	t := e.Value.(*waiting)
	t.taker = q.taker
	q.next = e.Next()
	q.under++
	q.underBytes += len(t.task.Body)
	return broker.Taken{Task: t.task, Sequence: t.sequence, Stored: t.stored, Done: func(context.Context) error {
		w.done(q, e)
		return nil
	}}, true
}

// expire removes tasks that waited for too long. Tasks that are handed out stay until their taker is done
// with them. The caller holds the lock.
func (w *Work) expire(q *workQueue, now time.Time) {
	for e := q.next; e != nil; e = q.next {
		t := e.Value.(*waiting)
		if now.Sub(t.stored) <= taskAge {
			return
		}
		t.done = true
		q.next = e.Next()
		q.tasks.Remove(e)
		q.bytes -= len(t.task.Body)
	}
}

// done removes a task, also for an earlier taker.
func (w *Work) done(q *workQueue, e *list.Element) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := e.Value.(*waiting)
	if t.done {
		return
	}
	t.done = true
	if q.next == e {
		q.next = e.Next()
	}
	q.tasks.Remove(e)
	q.bytes -= len(t.task.Body)
	if t.taker == q.taker {
		q.under--
		q.underBytes -= len(t.task.Body)
	}
	q.wake()
}

// Close ends all calls of Take and waits for them. The do functions of Take must not call it.
func (w *Work) Close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.end)
	}
	w.mu.Unlock()
	w.takers.Wait()
	return nil
}
