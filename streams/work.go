package streams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

const (
	// workAge is how long a task waits at most. Whoever does tasks gives up sooner;
	// this is for tasks that nobody takes. Each server removes what is too old by its
	// own clock, so it is far above what clocks may differ by.
	workAge = 24 * time.Hour
	// workBytes bounds all tasks that wait. More are refused, none is pushed out.
	workBytes = 1 << 30
	// workWindow is how long the id of a task is remembered.
	workWindow = 2 * time.Minute
	// vanished is how long the stream must have been missing to be made anew.
	vanished = time.Second
	// maxTaskID is the longest id of a task.
	maxTaskID = 256
	// taskID is the header with the id of a task; that of the server is the hash of
	// queue and id.
	taskID = "Task-Id"
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

	// repairing guards since when the stream was found missing, and when that was
	// last seen.
	repairing      sync.Mutex
	missing, noted time.Time
}

var _ broker.Work = (*Work)(nil)

// OpenWork opens the queues. They end with the log. node names this process.
func (l *Log) OpenWork(ctx context.Context, node string, table kv.Table) (*Work, error) {
	w := &Work{
		log: l, table: table, node: node, lease: workLease,
		stream: strings.ToUpper(strings.TrimSuffix(l.opt.Prefix, ".")) + "WORK", root: l.opt.Prefix + "work.",
	}
	ctx, cancel := context.WithTimeout(ctx, l.opt.StartTimeout)
	defer cancel()
	if err := attempt(ctx, w.provision); err != nil {
		return nil, err
	}
	return w, nil
}

// provision creates the stream, or adapts its limits. One that is not ours it refuses
// to touch.
func (w *Work) provision(ctx context.Context) error {
	want := jetstream.StreamConfig{
		Name: w.stream, Subjects: []string{w.root + ">"}, Description: "work of the gateways",
		Storage: jetstream.FileStorage, Replicas: w.log.opt.Replicas,
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxAge: workAge, MaxBytes: workBytes,
		Duplicates: workWindow,
	}
	s, err := w.log.js.Stream(ctx, w.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = w.log.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Another gateway was quicker.
			s, err = w.log.js.Stream(ctx, w.stream)
		}
	}
	if err != nil {
		return unavailable("stream "+w.stream, err)
	}
	have := s.CachedInfo().Config
	if strings.Join(have.Subjects, " ") != strings.Join(want.Subjects, " ") || have.Storage != want.Storage ||
		have.Retention != want.Retention || have.Discard != want.Discard || have.NoAck || have.Sealed {
		return fmt.Errorf("stream %s exists and is not for work: subjects %v, %v storage, %v retention, discard policy %v; set nats.prefix to use another one",
			w.stream, have.Subjects, have.Storage, have.Retention, have.Discard)
	}
	if have.Replicas == want.Replicas && have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes && have.Duplicates == want.Duplicates {
		return nil
	}
	have.Replicas, have.MaxAge, have.MaxBytes, have.Duplicates = want.Replicas, want.MaxAge, want.MaxBytes, want.Duplicates
	if _, err := w.log.js.UpdateStream(ctx, have); err != nil {
		return unavailable("adapting the limits of the stream "+w.stream, err)
	}
	return nil
}

// Put implements [broker.Work]. It sends one task after the other: in a pipeline, one
// that fails would be stored behind its successors when it is tried again. With an
// embedded server that takes 16 µs each instead of 6 µs.
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	if w.log.ctx.Err() != nil {
		return broker.ErrClosed
	}
	messages := make([]*nats.Msg, len(tasks))
	for i, t := range tasks {
		if len(t.ID) > maxTaskID {
			return fmt.Errorf("%w: the id of a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.ID), maxTaskID)
		}
		m := &nats.Msg{Subject: w.subject(queue), Data: t.Body, Header: nats.Header{}}
		m.Header.Set(nats.MsgIdHdr, nuid.Next())
		if t.ID != "" {
			m.Header.Set(taskID, name.Key(t.ID))
			// The window is that of the stream, which all queues share.
			m.Header.Set(nats.MsgIdHdr, short(queue+"\x00"+t.ID, 16))
		}
		messages[i] = m
	}
	for _, m := range messages {
		if err := w.put(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// put stores one message, again and again with the same id until the deadline.
func (w *Work) put(ctx context.Context, m *nats.Msg) error {
	limited, cancel := context.WithTimeout(ctx, w.log.opt.PublishTimeout)
	defer cancel()
	err := attempt(limited, func(ctx context.Context) error {
		_, err := w.log.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		if errors.Is(err, jetstream.ErrNoStreamResponse) {
			w.repair()
		}
		return err
	})
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &api) && api.ErrorCode == messageTooLarge, errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", broker.ErrTooLarge, err)
	case ctx.Err() != nil:
		return ctx.Err()
	case w.log.ctx.Err() != nil:
		return broker.ErrClosed
	}
	return unavailable("putting work", err)
}

// repair makes the stream anew if it vanished. It waits a moment before: a stream that is
// made while a server still deletes its predecessor may answer nobody.
func (w *Work) repair() {
	w.repairing.Lock()
	defer w.repairing.Unlock()
	now := time.Now()
	if now.Sub(w.noted) > 10*vanished {
		w.missing = now
	}
	w.noted = now
	if now.Sub(w.missing) < vanished {
		return
	}
	ctx, cancel := context.WithTimeout(w.log.ctx, attemptTimeout)
	defer cancel()
	if err := w.provision(ctx); err != nil {
		w.log.opt.Logger.Warn("the stream of work cannot be used", "stream", w.stream, "error", err)
		return
	}
	w.noted = time.Time{}
}

func (w *Work) subject(queue string) string { return w.root + name.Subject(queue) }

// short is a hash of a text with n bytes, in hexadecimal.
func short(text string, n int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:n])
}
