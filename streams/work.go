package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

const (
	// workAge is how long a task waits at most. Whoever does tasks gives up
	// sooner.
	workAge = 15 * time.Minute
	// workBytes bounds all tasks that wait. More are refused, none is pushed out.
	workBytes = 1 << 30
	// workLease is how long the taker of a queue is spared after its last sign of
	// life.
	workLease = 10 * time.Second
	// workBatch is the number of tasks that are sent without waiting for the first.
	workBatch = 256
)

// Work keeps queues of tasks in a stream of their own. The taker of a queue holds a
// lease in a table; the consumer by which it takes is made anew by each taker, which
// fences off the one before and brings back what that one did not do.
type Work struct {
	log    *Log
	table  kv.Table
	node   string
	stream string
	root   string
	lease  time.Duration
}

var _ broker.Work = (*Work)(nil)

// OpenWork opens the queues. They end with the log. node names this process.
func (l *Log) OpenWork(ctx context.Context, node string, table kv.Table) (*Work, error) {
	w := &Work{
		log: l, table: table, node: node, lease: workLease,
		stream: strings.ToUpper(strings.TrimSuffix(l.opt.Prefix, ".")) + "WORK", root: l.opt.Prefix + "work.",
	}
	config := jetstream.StreamConfig{
		Name: w.stream, Subjects: []string{w.root + ">"}, Storage: jetstream.FileStorage, Replicas: max(l.opt.Replicas, 1),
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxAge: workAge, MaxBytes: workBytes,
		Duplicates: 2 * time.Minute, AllowDirect: true,
	}
	ctx, cancel := context.WithTimeout(ctx, l.opt.StartTimeout)
	defer cancel()
	err := attempt(ctx, func(ctx context.Context) error {
		have, err := l.js.Stream(ctx, w.stream)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			_, err = l.js.CreateStream(ctx, config)
		case err == nil && have.CachedInfo().Config.Replicas != config.Replicas:
			_, err = l.js.UpdateStream(ctx, config)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: stream %s: %w", broker.ErrUnavailable, w.stream, err)
	}
	return w, nil
}

// Put implements [broker.Work].
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	subject := w.root + name.Subject(queue)
	for len(tasks) > 0 {
		part := tasks[:min(workBatch, len(tasks))]
		tasks = tasks[len(part):]
		if err := w.put(ctx, subject, queue, part); err != nil {
			return err
		}
	}
	return nil
}

// put sends a part. Acknowledgements come in the order of sending, or not at all.
func (w *Work) put(ctx context.Context, subject, queue string, tasks []broker.Task) error {
	if w.log.ctx.Err() != nil {
		return broker.ErrClosed
	}
	acks := make([]jetstream.PubAckFuture, len(tasks))
	for i, t := range tasks {
		m := &nats.Msg{Subject: subject, Data: t.Body, Header: nats.Header{}}
		if t.ID != "" {
			// The window is that of the stream, which all queues share.
			m.Header.Set(nats.MsgIdHdr, name.Key(queue)+"/"+t.ID)
		}
		var err error
		if acks[i], err = w.log.js.PublishMsgAsync(m); err != nil {
			return unavailable("putting work", err)
		}
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			if errors.Is(err, nats.ErrMaxPayload) {
				return fmt.Errorf("%w: %w", broker.ErrTooLarge, err)
			}
			return unavailable("putting work", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-w.log.ctx.Done():
			return broker.ErrClosed
		}
	}
	return nil
}

// Take implements [broker.Work].
func (w *Work) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(w.log.ctx, cancel)
	defer stop()
	key := "work." + name.Key(queue)
	revision, err := w.await(ctx, key)
	if err != nil {
		return err
	}
	defer func() {
		// A lease that was lost is somebody else's.
		done, end := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer end()
		_, _ = w.table.Swap(done, key, []byte("free"), w.lease, revision)
	}()
	consumer, err := w.consumer(ctx, queue, pending)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	taking, err := consumer.Consume(func(m jetstream.Msg) {
		at, err := m.Metadata()
		if err != nil {
			return
		}
		do(broker.Taken{
			Task: broker.Task{ID: m.Headers().Get(nats.MsgIdHdr), Body: m.Data()}, Sequence: at.Sequence.Stream, Stored: at.Timestamp,
			Done: m.DoubleAck,
		})
	}, jetstream.PullMaxMessages(min(pending, 512)), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
			fail(err)
		}
	}))
	if err != nil {
		return unavailable("taking work", err)
	}
	defer func() {
		taking.Stop()
		<-taking.Closed()
	}()
	tick := time.NewTicker(w.lease / 3)
	defer tick.Stop()
	for held := time.Now(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return unavailable("taking work", err)
		case <-tick.C:
		}
		renewing, end := context.WithTimeout(ctx, w.lease/3)
		next, err := w.table.Swap(renewing, key, []byte(w.node), w.lease, revision)
		end()
		switch {
		case err == nil:
			revision, held = next, time.Now()
		case errors.Is(err, kv.ErrConflict), time.Since(held) > w.lease:
			return unavailable("holding a queue", err)
		}
	}
}

// await waits until the lease of a queue is free, and takes it.
func (w *Work) await(ctx context.Context, key string) (uint64, error) {
	changed := &waker{woken: make(chan struct{}, 1)}
	stop, err := w.table.Watch(key, changed)
	if err != nil {
		return 0, err
	}
	defer stop()
	look := time.NewTicker(w.lease / 4)
	defer look.Stop()
	for {
		e, err := w.table.Read(ctx, key)
		if errors.Is(err, kv.ErrNotFound) || err == nil && string(e.Value) == "free" {
			revision, err := w.table.Swap(ctx, key, []byte(w.node), w.lease, e.Revision)
			if err == nil {
				return revision, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-look.C:
		case <-changed.woken:
		}
	}
}

// waker turns changes of a table into wake-ups.
type waker struct{ woken chan struct{} }

// Changed implements [kv.Watcher].
func (w *waker) Changed(kv.Record) { w.Lost() }

// Lost implements [kv.Watcher].
func (w *waker) Lost() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// consumer makes the queue's consumer anew.
func (w *Work) consumer(ctx context.Context, queue string, pending int) (jetstream.Consumer, error) {
	durable := name.Key(queue)
	if err := w.log.js.DeleteConsumer(ctx, w.stream, durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, unavailable("taking work", err)
	}
	c, err := w.log.js.CreateConsumer(ctx, w.stream, jetstream.ConsumerConfig{
		Durable: durable, FilterSubject: w.root + name.Subject(queue), DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: workAge + time.Minute, MaxAckPending: pending,
	})
	if err != nil {
		return nil, unavailable("taking work", err)
	}
	return c, nil
}
