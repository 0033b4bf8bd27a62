package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker"
)

const (
	// workPull is the number of tasks, and pullBytes their size, that are asked for
	// at a time.
	workPull  = 256
	pullBytes = 4 << 20
	// takenBytes bounds what is handed out and not done.
	takenBytes = 64 << 20
	// workIdle is when the server forgets the consumer of a queue from which nobody
	// takes any more.
	workIdle = 24 * time.Hour
)

// Take implements [broker.Work].
func (w *Work) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	taking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.log.ctx, func() { cancel(broker.ErrClosed) })()
	err := w.take(taking, cancel, queue, pending, do)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cause := context.Cause(taking); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return unavailable("taking work", err)
}

func (w *Work) take(ctx context.Context, cancel context.CancelCauseFunc, queue string, pending int, do func(broker.Taken)) error {
	l := w.leaseOf(queue)
	if err := l.acquire(ctx); err != nil {
		return err
	}
	defer l.release(ctx)
	c, err := w.consumer(ctx, queue, pending)
	if err != nil {
		return err
	}
	// Who was held up meanwhile, and lost the lease, takes nothing. Whose consumer it
	// deleted makes another.
	if err := l.renew(ctx); err != nil {
		return err
	}
	in := newIntake(takenBytes)
	// An iterator would drop messages when its channel is full.
	taking, err := c.Consume(func(m jetstream.Msg) {
		t, err := in.accept(ctx, m)
		if err != nil {
			cancel(err)
		}
		if ctx.Err() == nil {
			do(t)
		}
	}, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConnectionClosed) || errors.Is(err, jetstream.ErrBadRequest) {
			cancel(err)
		}
	}),
		// A limit below the size of a message would hold it back for ever.
		jetstream.PullMaxMessagesWithBytesLimit(min(pending, workPull), max(pullBytes, int(w.log.pub.conn().MaxPayload())+headerRoom)),
		jetstream.PullHeartbeat(5*time.Second))
	if err != nil {
		return err
	}
	defer func() {
		cancel(nil)
		taking.Stop()
		<-taking.Closed()
	}()
	tick := time.NewTicker(w.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := l.renew(ctx); err != nil {
			return fmt.Errorf("the lease was lost: %w", err)
		}
		asking, end := context.WithTimeout(ctx, w.lease/3)
		info, err := c.Info(asking)
		end()
		switch {
		case err == nil:
			err = in.audit(info.Delivered.Consumer)
		case !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound):
			continue
		}
		if err != nil {
			return err
		}
	}
}

// consumer makes the queue's consumer anew. It has another name each time: a former
// taker that was cut off and comes back finds its own gone, instead of tasks.
func (w *Work) consumer(ctx context.Context, queue string, pending int) (jetstream.Consumer, error) {
	s, err := w.log.js.Stream(ctx, w.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		w.repair()
	}
	if err != nil {
		return nil, err
	}
	own := short(queue, 8) + "-"
	var former []string
	names := s.ConsumerNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, own) {
			former = append(former, name)
		}
	}
	if err := names.Err(); err != nil {
		return nil, err
	}
	for _, name := range former {
		if err := s.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil, err
		}
	}
	return s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: own + nuid.Next(), Description: fmt.Sprintf("queue %s, taken by %s", queue, w.node),
		// An earlier release put tasks on the subject of the queue itself.
		FilterSubjects: []string{w.subject(queue), w.subject(queue) + ".>"}, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: workAge + time.Minute, MaxAckPending: pending,
		InactiveThreshold: workIdle,
	})
}
