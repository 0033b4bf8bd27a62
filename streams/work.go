package streams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/kv/shape"
)

const (
	// workAge is how long a task that nobody takes is kept. Takers give up on tasks sooner. Each server removes old
	// tasks by its own clock, so the age is far above the differences of clocks.
	workAge = 24 * time.Hour
	// workBytes is the least size that is reserved for the stream. If a queue is full, new tasks are refused; no task is
	// pushed out.
	workBytes = 1 << 30
	// leastTasks and mostTasks are the limits of the bound for the tasks of one subject.
	leastTasks, mostTasks = 16, 128
	// workWindow is how long the id of a task is remembered.
	workWindow = 2 * time.Minute
	// vanished is how long the stream must have been missing before it is created again.
	vanished = time.Second
	// maxTaskID is the longest id of a task.
	maxTaskID = 256
	// taskID is the header with the id of a task. The deduplication id is a hash of queue and id.
	taskID = "Task-Id"
)

// Work keeps queues of tasks in a stream of its own. The taker of a queue holds a lease in a table. Each taker creates a
// new consumer. That fences off the previous taker, and tasks that it has not done are delivered again.
type Work struct {
	log    *Log
	table  kv.Table
	node   string
	stream string
	root   string
	lease  time.Duration
	// turn chooses the first subject for the next task.
	turn atomic.Uint32

	// repairing guards missing, the time since which the stream is missing, and noted, when that was last seen.
	repairing      rank.Mutex[rank.StreamsRepairing]
	missing, noted time.Time
}

var _ broker.Work = (*Work)(nil)

// sizes bounds a queue in bytes. The server can bound the messages of a subject only by number. So tasks have subjects by
// their size, and there are more subjects for small tasks. Thereby no queue can use the room of another one.
var sizes = [...]struct{ upTo, subjects int }{{2 << 10, 64}, {16 << 10, 8}, {math.MaxInt, 1}}

// workBounds returns the largest number of tasks of one subject, and the bytes to reserve so that all queues can be full at
// the same time. If there are many queues, each is smaller.
func (l *Log) workBounds() (tasks, bytes int64) {
	// JSON escapes can make a text six times as long.
	each := int64(6*l.maxData() + headerRoom)
	for _, c := range sizes[:len(sizes)-1] {
		each += int64(c.upTo * c.subjects)
	}
	n := int64(max(l.opt.Queues, int(l.addresses.Load()), 1))
	tasks = min(max(workBytes/(n*each), leastTasks), mostTasks)
	return tasks, max(workBytes, n*tasks*each)
}

// OpenWork opens the queues. They are closed with the log. node is the name of this process.
func (l *Log) OpenWork(ctx context.Context, node string, table kv.Table) (*Work, error) {
	w := newWork(l)
	w.table, w.node, w.lease = table, node, workLease
	ctx, cancel := context.WithTimeout(ctx, l.opt.StartTimeout)
	defer cancel()
	if err := attempt(ctx, func(ctx context.Context) error { return w.provision(ctx, true) }); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.works = append(l.works, w)
	l.mu.Unlock()
	return w, nil
}

func newWork(l *Log) *Work {
	return &Work{log: l, stream: strings.ToUpper(strings.TrimSuffix(l.opt.Prefix, ".")) + "WORK", root: l.opt.Prefix + "work."}
}

// ownerKey marks a stream as one of Sluice in its metadata.
const ownerKey = "owner"

// wanted returns the configuration that the stream must have.
func (w *Work) wanted() jetstream.StreamConfig {
	tasks, bytes := w.log.workBounds()
	return jetstream.StreamConfig{
		Name: w.stream, Subjects: []string{w.root + ">"}, Description: "work of the gateways",
		Storage: jetstream.FileStorage, Replicas: w.log.opt.Replicas, MaxMsgs: -1, MaxConsumers: -1, MaxMsgSize: -1,
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxAge: workAge,
		MaxBytes: bytes, MaxMsgsPerSubject: tasks, DiscardNewPerSubject: true, Duplicates: workWindow,
		Metadata: map[string]string{ownerKey: "sluice"},
	}
}

// provision creates the stream or corrects its settings; limits are corrected only with adapt. It returns an error, and
// changes nothing, if the stream is not ours.
func (w *Work) provision(ctx context.Context, adapt bool) error {
	want := w.wanted()
	s, err := w.log.js.Stream(ctx, w.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = kv.MakeStream(ctx, w.log.js, want)
	}
	if err != nil {
		return unavailable("stream "+w.stream, w.log.whyNot(ctx, want, err))
	}
	return w.adopt(ctx, s, want, adapt)
}

// ofWork are the rules for the stream of work. Gateways do not purge it, delete from it or read it with direct gets.
var ofWork = shape.Options{"DenyPurge": shape.Free, "DenyDelete": shape.Free, "AllowDirect": shape.Free}

// adopt corrects the settings of an existing stream.
func (w *Work) adopt(ctx context.Context, s jetstream.Stream, want jetstream.StreamConfig, adapt bool) error {
	have, rules := s.CachedInfo().Config, maps.Clone(ofWork)
	if have.Metadata[ownerKey] == "" && !slices.Equal(have.Subjects, want.Subjects) {
		return fmt.Errorf("stream %s exists and is not for work: its subjects are %q, want %q; set nats.prefix to use another one",
			w.stream, have.Subjects, want.Subjects)
	}
	switch {
	case have.DiscardNewPerSubject && have.MaxMsgsPerSubject == want.MaxMsgsPerSubject:
	case adapt:
		crowded, err := w.crowded(ctx, s, want.MaxMsgsPerSubject)
		if err != nil {
			return unavailable("stream "+w.stream, err)
		}
		if crowded {
			rules["MaxMsgsPerSubject"], rules["DiscardNewPerSubject"] = shape.Free, shape.Free
		}
	case have.MaxMsgsPerSubject <= 0:
		// NATS accepts DiscardNewPerSubject only together with a bound.
		rules["DiscardNewPerSubject"] = shape.Free
	}
	found := shape.Compare(have, want, rules, adapt)
	w.log.appNote("", "settings of the stream "+w.stream, remaining(found))
	switch {
	case len(found.Fatal) > 0:
		return fmt.Errorf("stream %s exists and is not for work: %s; %w", w.stream, shape.List(found.Fatal), errFinal)
	case len(found.Changed) == 0:
		return nil
	}
	if _, err := w.log.js.UpdateStream(ctx, found.Config); err != nil {
		return unavailable("adapting the stream "+w.stream+" ("+shape.List(found.Changed)+")", noRoom(want, err))
	}
	if !adapt {
		w.log.noteMended(w.stream, shape.List(found.Changed))
	}
	return nil
}

// check puts back the settings of the stream. A missing stream is created again when it is needed.
func (w *Work) check() {
	ctx, cancel := context.WithTimeout(w.log.ctx, 5*time.Second)
	defer cancel()
	s, err := w.log.js.Stream(ctx, w.stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		err = nil
	case err == nil:
		err = w.adopt(ctx, s, w.wanted(), false)
	}
	if w.log.ctx.Err() == nil {
		w.log.problem("stream of webhooks that wait", err)
	}
}

// crowded reports whether a subject has more tasks than the bound. An earlier release had no bound, and the server would
// remove the excess if it were set. Then the bound is set at a later start.
func (w *Work) crowded(ctx context.Context, s jetstream.Stream, most int64) (bool, error) {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(w.root+">"))
	if err != nil {
		return false, err
	}
	for subject, n := range info.State.Subjects {
		if n > uint64(most) {
			w.log.opt.Logger.Warn("a queue of webhooks holds so many that its bound is set at the next start", "subject", subject, "tasks", n)
			return true, nil
		}
	}
	return false, nil
}

// Put implements [broker.Work]. It sends tasks one after the other: in a pipeline, a task that fails would be stored after
// its successors when it is retried. With an embedded server this takes 16 µs per task instead of 6 µs.
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) (stored int, err error) {
	if w.log.ctx.Err() != nil {
		return 0, broker.ErrClosed
	}
	for i, t := range tasks {
		if len(t.ID) > maxTaskID {
			return i, fmt.Errorf("%w: the id of a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.ID), maxTaskID)
		}
		m := &nats.Msg{Data: t.Body, Header: nats.Header{}}
		m.Header.Set(nats.MsgIdHdr, nuid.Next())
		if t.ID != "" {
			m.Header.Set(taskID, name.Key(t.ID))
			// All queues share the deduplication window of the stream, so the id includes the queue.
			m.Header.Set(nats.MsgIdHdr, short(queue+"\x00"+t.ID, 16))
		}
		if err := w.putSomewhere(ctx, queue, m); err != nil {
			return i, err
		}
	}
	return len(tasks), nil
}

// putSomewhere stores a message on one of the subjects for its size, in rotation. The queue is full only when all of them
// are.
func (w *Work) putSomewhere(ctx context.Context, queue string, m *nats.Msg) error {
	class := 0
	for len(m.Data) > sizes[class].upTo {
		class++
	}
	root, n := w.subject(queue)+"."+strconv.Itoa(class)+".", uint32(sizes[class].subjects)
	err := broker.ErrQueueFull
	for first, i := w.turn.Add(1), uint32(0); i < n && errors.Is(err, broker.ErrQueueFull); i++ {
		m.Subject = root + strconv.Itoa(int((first+i)%n))
		err = w.put(ctx, m)
	}
	return err
}

// put stores one message. It retries with the same id until the deadline.
func (w *Work) put(ctx context.Context, m *nats.Msg) error {
	limited, cancel := context.WithTimeout(ctx, w.log.opt.PublishTimeout)
	defer cancel()
	defer context.AfterFunc(w.log.ctx, cancel)()
	err := attempt(limited, func(ctx context.Context) error {
		_, err := w.log.send.ask(ctx, m, m.Size(), w.stream)
		if errors.Is(err, jetstream.ErrNoStreamResponse) {
			w.repair()
		}
		return fullOr(err)
	})
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, broker.ErrQueueFull):
		return err
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge(m, w.log.pub.conn().MaxPayload())
	case errors.As(err, &api) && api.ErrorCode == messageTooLarge:
		return fmt.Errorf("%w: %w", broker.ErrTooLarge, err)
	case ctx.Err() != nil:
		return ctx.Err()
	case w.log.ctx.Err() != nil:
		return broker.ErrClosed
	}
	return unavailable("putting work", err)
}

// fullOr converts the server's errors for a full stream into [broker.ErrQueueFull], for which there is no retry. Other
// errors are returned as they are.
func fullOr(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (strings.HasPrefix(api.Description, "maximum messages per subject exceeded") || strings.HasPrefix(api.Description, "maximum bytes exceeded")) {
		return fmt.Errorf("%w (%s)", broker.ErrQueueFull, api.Description)
	}
	return err
}

// repair creates the stream again if it has been missing for a moment. A stream that is created while a server still
// deletes its predecessor may not answer.
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
	if err := w.provision(ctx, false); err != nil {
		w.log.opt.Logger.Warn("the stream of work cannot be used", "stream", w.stream, "error", err)
		return
	}
	w.noted = time.Time{}
}

func (w *Work) subject(queue string) string { return w.root + name.Subject(queue) }

// short returns n bytes of a hash of a text, in hexadecimal.
func short(text string, n int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:n])
}
