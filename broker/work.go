package broker

import (
	"context"
	"time"
)

// Task is a piece of work that must be done even if processes die.
type Task struct {
	// ID identifies the task: of tasks with the same id that are put into a queue within two minutes, one is
	// kept. At most 256 bytes. A task with an empty ID is never a duplicate.
	ID string
	// Body is not modified.
	Body []byte
}

// Taken is a task that was handed out.
type Taken struct {
	Task
	// Sequence rises with each task of a queue.
	Sequence uint64
	// Stored is when the queue stored the task, by the clock of the backend.
	Stored time.Time
	// Done removes the task for good. It may be called from any goroutine, once.
	Done func(ctx context.Context) error
}

// Work is a set of named queues that outlive the processes that use them.
type Work interface {
	// Put appends tasks to a queue in order. It returns when all are stored or one cannot be stored,
	// with the number of tasks that are certainly stored; a retry continues after them. If the
	// backend did not answer, later tasks may be stored too; their ids prevent storing them twice
	// for two minutes. Each queue has its own bound and refuses tasks when it is full. Errors:
	// [ErrUnavailable], [ErrQueueFull], [ErrTooLarge] for the first task that is not stored,
	// [ErrClosed], or the context's.
	Put(ctx context.Context, queue string, tasks ...Task) (stored int, err error)
	// Take passes the tasks of a queue to do, oldest first, and continues with new ones as they come. One
	// process at a time is served per queue; the others wait until it stops or dies, and then get all tasks
	// that are not done, from the oldest. Take returns the context's error when ctx ends, or [ErrUnavailable]
	// when this process lost its turn; tasks in progress may then be handed to another process. do may keep
	// tasks and call Done later, but must not block for long. While pending tasks, or 64 MiB, are not done,
	// no more are handed out. Tasks older than 24 hours are dropped silently.
	Take(ctx context.Context, queue string, pending int, do func(Taken)) error
}
