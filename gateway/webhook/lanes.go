package webhook

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

const (
	// lanes is the number of concurrent requests to one address. A channel belongs to one lane, which keeps its
	// order.
	lanes = 8
	// pending is the maximum number of events in memory for one address. [broker.Work] bounds their bytes.
	pending = 4096
	// batchBytes is the size of events in bytes at which a batch is complete.
	batchBytes = 1 << 20
	// doneAtATime bounds the concurrent removals of a batch's events from the queue.
	doneAtATime = 16
)

// run delivers from the queue whenever this gateway holds its lease.
func (e *endpoint) run() {
	pause := e.hooks.opt.FirstRetry
	for e.quit.Err() == nil {
		began := time.Now()
		err := e.serve()
		if e.quit.Err() != nil {
			return
		}
		if errors.Is(err, context.Canceled) && e.ctx.Err() == nil {
			continue // regroup restarts the delivery
		}
		if time.Since(began) > maxPause {
			pause = e.hooks.opt.FirstRetry
		}
		e.said.Warn(e.hooks.opt.Logger, "interrupted", "delivering webhooks was interrupted and is begun again", "app", e.app.ID, "url", e.shown, "error", err)
		select {
		case <-time.After(pause):
		case <-e.quit.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// serve delivers until the end, or until another gateway takes over the queue. At the end it waits for the
// requests in flight, which the next gateway would repeat.
func (e *endpoint) serve() error {
	ctx, cancel := context.WithCancel(e.ctx)
	var running, working sync.WaitGroup
	defer running.Wait()
	defer cancel()
	n := lanes
	if e.batches.Load() {
		n = 1
	}
	running.Go(func() {
		select {
		case <-e.regroup:
			cancel() // the number of lanes changes
		case <-ctx.Done():
		}
	})
	queues := make([]chan delivery, n)
	for i := range queues {
		// Work hands out at most pending events, so this is never full.
		queues[i] = make(chan delivery, pending)
		working.Go(func() { e.lane(ctx, queues[i]) })
	}
	running.Go(func() {
		working.Wait()
		cancel()
	})
	in := make(chan delivery, pending)
	running.Go(func() { e.sort(ctx, in, queues) })
	return e.hooks.opt.Work.Take(ctx, e.queue, pending, func(t broker.Taken) {
		ev, err := decode(t.Body)
		if err != nil {
			e.dropped("unreadable", 1)
			e.said.Error(e.hooks.opt.Logger, "unreadable", "webhooks in the queue cannot be read", "app", e.app.ID, "url", e.shown, "error", err)
		}
		select {
		case in <- delivery{ev, t}:
		case <-ctx.Done():
		}
	})
}

// sort withholds events for their grace and distributes the others to the lanes.
func (e *endpoint) sort(ctx context.Context, in <-chan delivery, queues []chan delivery) {
	g := grace[delivery]{wait: e.hooks.opt.Grace}
	numbers := counts{}
	put := func(d delivery) {
		if !e.hook().Wants(d.event.Name, d.event.Channel) {
			e.done(ctx, d)
			return
		}
		if d.event.Name == SubscriptionCount && numbers.stale(&d.event, d.taken.Stored) {
			e.settle(ctx, []delivery{d})
			return
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(d.event.Channel))
		select {
		case queues[h.Sum32()%uint32(len(queues))] <- d:
		case <-ctx.Done():
		}
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, waits := g.next(time.Now()); waits {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			for _, d := range g.due(time.Now()) {
				put(d)
			}
		case d := <-in:
			if d.event.Name == "" {
				e.done(ctx, d)
				continue
			}
			now, settled := g.take(d.event, d.taken.Stored, time.Now(), d)
			for _, d := range now {
				put(d)
			}
			e.settle(ctx, settled)
		}
	}
}

// settle removes events that are not sent from the queue, in order: if only the cancelled event stayed there,
// the next gateway would send it.
func (e *endpoint) settle(ctx context.Context, all []delivery) {
	for _, d := range all {
		if e.hook().Wants(d.event.Name, d.event.Channel) {
			e.hooks.metrics.withheld.WithLabelValues(e.app.ID, e.hooks.opt.Port).Inc()
		}
	}
	for _, d := range all {
		if !e.done(ctx, d) {
			return
		}
	}
}

// lane sends one request after the other.
func (e *endpoint) lane(ctx context.Context, queue <-chan delivery) {
	for e.quit.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-e.quit.Done():
			return
		case first := <-queue:
			part := []delivery{first}
			if e.batches.Load() {
				part = e.gather(ctx, part, queue)
			}
			if e.quit.Err() != nil || !e.send(ctx, part) {
				return
			}
			e.finish(ctx, part)
		}
	}
}

// gather adds the events that arrive within the time of a batch.
func (e *endpoint) gather(ctx context.Context, part []delivery, queue <-chan delivery) []delivery {
	hook := e.hook()
	timer := time.NewTimer(hook.BatchTime)
	defer timer.Stop()
	for bytes := 0; len(part) < hook.BatchSize && bytes < batchBytes; {
		bytes += len(part[len(part)-1].taken.Body)
		select {
		case more := <-queue:
			part = append(part, more)
		case <-timer.C:
			return part
		case <-e.quit.Done():
			return part
		case <-ctx.Done():
			return part
		}
	}
	return part
}

// finish removes events that were sent or dropped from the queue.
func (e *endpoint) finish(ctx context.Context, part []delivery) {
	var running sync.WaitGroup
	n := min(len(part), doneAtATime)
	for i := range n {
		running.Go(func() {
			for j := i; j < len(part); j += n {
				e.done(ctx, part[j])
			}
		})
	}
	running.Wait()
}
