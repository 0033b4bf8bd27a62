package broker

import (
	"context"
	"time"
)

// Task is one piece of work that must be done although processes die.
type Task struct {
	// ID names the task: of several with the same id that are put into a queue
	// within two minutes one is kept. At most 256 bytes; empty means that every
	// task is another.
	ID string
	// Body is not modified.
	Body []byte
}

// Taken is a task that was handed out.
type Taken struct {
	Task
	// Sequence rises with each task of a queue.
	Sequence uint64
	// Stored is when the queue took it, by the clock of the backend.
	Stored time.Time
	// Done removes the task for good. It may be called from any goroutine, once.
	Done func(ctx context.Context) error
}

// Work is a set of named queues that outlive processes.
type Work interface {
	// Put appends tasks to a queue in order, and returns when all are stored or one
	// cannot be, with the number of those that are for sure: who tries again goes on
	// behind them. Whether the next ones are is not known if the backend did not
	// answer; their ids keep them from being stored twice for two minutes. Each queue
	// has a bound of its own; a full one refuses and takes nothing from the others.
	// Errors: [ErrUnavailable], [ErrQueueFull], [ErrTooLarge], which is about the first
	// task that is not stored, [ErrClosed], or the context's.
	Put(ctx context.Context, queue string, tasks ...Task) (stored int, err error)
	// Take hands the tasks of a queue to do, in order, oldest first, and goes on
	// with new ones as they come. Of all processes that call it for a queue one at
	// a time is served; the others wait until it stops or dies and then get what was
	// not done, from the beginning. It returns when ctx is done, with its error, or
	// with [ErrUnavailable] when this process is no longer the one, in which case
	// tasks that are under way may be handed to another. do may keep tasks and call
	// Done later; while pending of them, or 64 MiB, are not done, no more are
	// handed out. It must not block for long. A task that waits for longer than 24 hours
	// is not handed out any more, and nobody is told.
	Take(ctx context.Context, queue string, pending int, do func(Taken)) error
}
