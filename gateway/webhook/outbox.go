package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// outboxEvents and outboxBytes bound the events that wait to be stored in the queue of one address. Further
	// ones are dropped and counted.
	outboxEvents = 65536
	outboxBytes  = 64 << 20
	// putEvents and putBytes bound what is stored in one call.
	putEvents = 256
	putBytes  = 4 << 20
	// putTimeout bounds one attempt to store.
	putTimeout = 15 * time.Second
	// maxPause is the longest pause between attempts.
	maxPause = 5 * time.Second
)

// outbox holds the events of one address until they are in its queue. Each address has its own outbox, so that a
// full queue delays no other address.
type outbox struct {
	mu    rank.Mutex[rank.Hooks]
	tasks []broker.Task
	// added is when each task was added.
	added  []time.Time
	bytes  int
	closed bool
	// full is the time since which the queue has been full, zero if it is not.
	full time.Time
	// changed wakes the storing goroutine.
	changed chan struct{}
}

// add appends an event. It returns why it was dropped, empty if it was not.
func (o *outbox) add(t broker.Task, now time.Time) (dropped string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return "closed"
	case len(o.tasks) >= outboxEvents || o.bytes+len(t.Body) > outboxBytes:
		return "queue"
	}
	o.tasks, o.added = append(o.tasks, t), append(o.added, now)
	o.bytes += len(t.Body)
	o.wake()
	return ""
}

func (o *outbox) wake() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// close refuses further events.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake()
}

// first returns some of the oldest events. open is false if no more are added.
func (o *outbox) first() (part []broker.Task, open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	bytes := 0
	for _, t := range o.tasks[:min(putEvents, len(o.tasks))] {
		if bytes += len(t.Body); bytes > putBytes && len(part) > 0 {
			break
		}
		part = append(part, t)
	}
	return part, !o.closed
}

// remove drops the n oldest events.
func (o *outbox) remove(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.tasks[:n] {
		o.bytes -= len(t.Body)
	}
	clear(o.tasks[:n])
	if o.tasks, o.added = o.tasks[n:], o.added[n:]; len(o.tasks) == 0 {
		o.tasks, o.added = nil, nil
	}
}

// tried records the result of an attempt to store.
func (o *outbox) tried(err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !errors.Is(err, broker.ErrQueueFull):
		o.full = time.Time{}
	case o.full.IsZero():
		o.full = now
	}
}

// fullFor is how long a queue must have been full before [Hooks.Settled] ignores its events. It is shorter than
// the time for which task ids are remembered.
const fullFor = time.Minute

// settled returns the time before which all events are stored: now if none waits, or if the queue has been full
// for longer than fullFor.
func (o *outbox) settled(now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tasks) == 0 || !o.full.IsZero() && now.Sub(o.full) > fullFor {
		return now
	}
	return o.added[0]
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.tasks)
}

// store moves the events of an address into its queue, in order, until the outbox is closed and empty or ctx is
// done. A stored event is never put again: after a while its id is forgotten, and it would be stored a second
// time, after later events.
func (e *endpoint) store(ctx context.Context) {
	opt, pause := &e.hooks.opt, e.hooks.opt.FirstRetry
	for {
		part, open := e.out.first()
		if len(part) == 0 {
			if !open {
				return
			}
			select {
			case <-e.out.changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		putting, cancel := context.WithTimeout(ctx, putTimeout)
		stored, err := opt.Work.Put(putting, e.queue, part...)
		cancel()
		e.out.remove(stored)
		e.out.tried(err, time.Now())
		if stored > 0 || err == nil {
			pause = opt.FirstRetry
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			e.dropped("closed", e.out.len())
			return
		case errors.Is(err, broker.ErrTooLarge):
			e.out.remove(1)
			e.dropped("size", 1)
			e.said.Warn(opt.Logger, "size", "webhooks are too large to be stored", "app", e.app.ID, "url", e.shown, "error", err)
		default:
			e.said.Warn(opt.Logger, "storing", "webhooks cannot be stored; they are tried again", "app", e.app.ID, "url", e.shown, "error", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, maxPause)
		}
	}
}
