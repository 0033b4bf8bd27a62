package main

import (
	"context"
	"sync"

	"github.com/sluicehq/sluice/broker"
)

// lateWork opens the work queues when they are first used: on NATS they reserve storage, which a server without
// webhooks does not need. It is safe for concurrent use.
type lateWork struct {
	open func(ctx context.Context) (broker.Work, error)

	mu   sync.Mutex
	work broker.Work
}

var _ broker.Work = (*lateWork)(nil)

// get returns the queues, and opens them first if necessary. Other callers wait meanwhile, as long as the log
// allows opening to take.
func (l *lateWork) get(ctx context.Context) (broker.Work, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work == nil {
		work, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.work = work
	}
	return l.work, nil
}

// Put implements [broker.Work].
func (l *lateWork) Put(ctx context.Context, queue string, tasks ...broker.Task) (stored int, err error) {
	work, err := l.get(ctx)
	if err != nil {
		return 0, err
	}
	return work.Put(ctx, queue, tasks...)
}

// Take implements [broker.Work].
func (l *lateWork) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	work, err := l.get(ctx)
	if err != nil {
		return err
	}
	return work.Take(ctx, queue, pending, do)
}
