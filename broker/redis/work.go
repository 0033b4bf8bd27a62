package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

const (
	// maxTask is the largest body of a task, maxTaskID its longest id.
	maxTask, maxTaskID = 8 << 20, 256
	// maxTasks bounds a queue; more is refused, none is pushed out.
	maxTasks = 65536
	// maxUnder bounds the bytes that are handed out and not done.
	maxUnder = 64 << 20
	// workWindow is how long ids of tasks are remembered.
	workWindow = 2 * time.Minute
	// workLease is how long the taker of a queue is spared after its last sign of
	// life. It gives one three times as often.
	workLease = 10 * time.Second
	// workPoll is how long one reading waits for new tasks.
	workPoll = 500 * time.Millisecond
	// workBatch is how many tasks are read or written at a time.
	workBatch = 64
)

// Work is a [broker.Work] in Redis streams. It ends with the log.
type Work struct {
	log   *Log
	lease time.Duration
}

var _ broker.Work = (*Work)(nil)

// OpenWork opens the queues of work.
func (l *Log) OpenWork() *Work { return &Work{log: l, lease: workLease} }

type workKeys struct{ stream, lock, dedup string }

func (w *Work) keys(queue string) workKeys {
	// Two colons: an app may be called work, and its channels anything.
	root := w.log.opt.Prefix + "{work::" + name.Key(queue) + "}"
	return workKeys{root + ":s", root + ":l", root + ":d:"}
}

// workPut appends tasks whose ids are new.
//
//	KEYS: stream, then one key per id   ARGV: most tasks, window ms, bodies, then ids (empty for none)
//	answers: how many tasks there is no room for
var workPut = rueidis.NewLuaScriptRetryable(`
local n = #KEYS - 1
for i = 1, n do
  if redis.call('EXISTS', KEYS[1 + i]) == 0 then
    if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return n - i + 1 end
    redis.call('XADD', KEYS[1], '*', 'b', ARGV[2 + i], 'i', ARGV[2 + n + i])
    redis.call('SET', KEYS[1 + i], '1', 'PX', ARGV[2])
  end
end
return 0
`)

// Put implements [broker.Work].
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.log.ctx.Err() != nil {
		return broker.ErrClosed
	}
	for _, t := range tasks {
		switch {
		case len(t.ID) > maxTaskID:
			return fmt.Errorf("%w: the id of a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.ID), maxTaskID)
		case len(t.Body) > maxTask:
			return fmt.Errorf("%w: a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.Body), maxTask)
		}
	}
	k := w.keys(queue)
	for len(tasks) > 0 {
		part := firstTasks(tasks)
		tasks = tasks[len(part):]
		keys, args := []string{k.stream}, []string{strconv.Itoa(maxTasks), strconv.FormatInt(workWindow.Milliseconds(), 10)}
		for _, t := range part {
			id := "-" + rand.Text() // for our own retries
			if t.ID != "" {
				id = digest(t.ID)
			}
			keys = append(keys, k.dedup+id)
			args = append(args, rueidis.BinaryString(t.Body))
		}
		for _, t := range part {
			args = append(args, t.ID)
		}
		if err := w.put(ctx, queue, keys, args); err != nil {
			return err
		}
	}
	return nil
}

// firstTasks are as many as one script should store: it keeps the server from all else.
func firstTasks(tasks []broker.Task) []broker.Task {
	n, size := 0, 0
	for n < min(len(tasks), workBatch) && (n == 0 || size+len(tasks[n].Body) <= maxTask) {
		size += len(tasks[n].Body)
		n++
	}
	return tasks[:n]
}

func (w *Work) put(ctx context.Context, queue string, keys, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, w.log.opt.PublishTimeout)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		left, err := workPut.Exec(ctx, w.log.pub, keys, args).AsInt64()
		switch {
		case err == nil && left == 0:
			return nil
		case err == nil:
			return fmt.Errorf("%w: queue %.100q is full", broker.ErrUnavailable, queue)
		case w.log.ctx.Err() != nil:
			return broker.ErrClosed
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return ctx.Err()
			}
			return unavailable("storing tasks", err)
		case <-time.After(wait):
		}
	}
}
