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
	// workPull and pullBytes bound one pull request, in tasks and in bytes.
	workPull  = 256
	pullBytes = 4 << 20
	// takenBytes bounds the tasks that are handed out and not done, in bytes.
	takenBytes = 64 << 20
	// workIdle is how long the server keeps the consumer of a queue without a taker.
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
	// If this taker was delayed and has lost the lease, it must not take. A taker whose consumer it has deleted creates
	// another one.
	if err := l.renew(ctx); err != nil {
		return err
	}
	in := newIntake(takenBytes)
	// Messages() of the library would drop messages when its channel is full.
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
		// A message that is larger than the limit would never be delivered.
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

// consumer deletes the previous consumers of the queue and creates a new one. Each has another name, so that a former taker
// that was disconnected finds its own consumer gone, and gets no tasks.
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
		// An earlier release stored tasks on the subject of the queue itself.
		FilterSubjects: []string{w.subject(queue), w.subject(queue) + ".>"}, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: workAge + time.Minute, MaxAckPending: pending,
		InactiveThreshold: workIdle,
	})
}
