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
	// maxTask is the largest body of a task, maxTaskID the longest id, both in bytes.
	maxTask, maxTaskID = 8 << 20, 256
	// maxTasks and maxTaskBytes bound a queue. Tasks beyond them are refused; stored tasks are not displaced.
	maxTasks, maxTaskBytes = 65536, 128 << 20
	// maxUnder bounds the bytes of tasks that are handed out and not done.
	maxUnder = 64 << 20
	// workWindow is how long the ids of tasks are remembered.
	workWindow = 2 * time.Minute
	// workLease is how long the taker of a queue keeps its right after the last renewal. It renews three
	// times as often.
	workLease = 10 * time.Second
	// workPoll is how long one read waits for new tasks.
	workPoll = 500 * time.Millisecond
	// workAge is how long a task waits before it is dropped.
	workAge = 24 * time.Hour
	// workBatch is how many tasks are read or written at a time.
	workBatch = 64
)

// Work is a [broker.Work] in Redis streams. It is closed with the log.
type Work struct {
	log   *Log
	lease time.Duration
}

var _ broker.Work = (*Work)(nil)

// OpenWork opens the work queues.
func (l *Log) OpenWork() *Work { return &Work{log: l, lease: workLease} }

type workKeys struct{ stream, lock, bytes, dedup string }

func (w *Work) keys(queue string) workKeys {
	// Two colons, because an app may be called work, with any channels.
	root := w.log.opt.Prefix + "{work::" + name.Key(queue) + "}"
	return workKeys{root + ":s", root + ":l", root + ":b", root + ":d:"}
}

// workAged is Lua that removes up to 64 expired tasks of a queue. It sets the variables have (the number of
// tasks), bytes (their size), and oldest (the lowest id that has not expired).
const workAged = `
local have = redis.call('XLEN', KEYS[1])
local bytes = tonumber(redis.call('GET', KEYS[2]) or '0')
if have == 0 or bytes < 0 then bytes = 0 end
local clock = redis.call('TIME')
local oldest = string.format('%.0f-0', clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[1]))
local aged = redis.call('XRANGE', KEYS[1], '-', '(' .. oldest, 'COUNT', 64)
for _, e in ipairs(aged) do
  redis.call('XDEL', KEYS[1], e[1])
  have = have - 1
  bytes = math.max(bytes - #(e[2][2] or ''), 0)
end
`

// workPut appends tasks whose ids are new. The size of a queue is counted in a key of its own, which starts
// again when the queue is empty. Expired tasks are removed some at a time. The whole queue expires when
// nothing was put for that long: there may be no taker any more.
//
//	KEYS: stream, bytes, then one key per id
//	ARGV: age ms, most tasks, most bytes, window ms, bodies, then ids (empty for none)
//	answers: how many tasks there is no room for
var workPut = rueidis.NewLuaScriptRetryable(workAged + `
local n = #KEYS - 2
local left = 0
for i = 1, n do
  if redis.call('EXISTS', KEYS[2 + i]) == 0 then
    local body = ARGV[4 + i]
    if have >= tonumber(ARGV[2]) or bytes + #body > tonumber(ARGV[3]) then
      left = n - i + 1
      break
    end
    redis.call('XADD', KEYS[1], '*', 'b', body, 'i', ARGV[4 + n + i])
    redis.call('SET', KEYS[2 + i], '1', 'PX', ARGV[4])
    have = have + 1
    bytes = bytes + #body
  end
end
redis.call('SET', KEYS[2], bytes, 'PX', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return left
`)

// workRead reads tasks in order. It skips expired tasks and removes some of them. It stops after the task
// that reaches the limit of bytes, so that no task is read twice.
//
// If there are no tasks it returns the id that the queue gave out last: after a server lost some, that may be
// lower than the last id read.
//
//	KEYS: stream, bytes   ARGV: age ms, entry after which it reads, most tasks, most bytes
//	answers: entries, the last identifier (empty with entries)
var workRead = rueidis.NewLuaScript(workAged + `
if #aged > 0 and redis.call('EXISTS', KEYS[2]) == 1 then redis.pcall('SET', KEYS[2], bytes, 'KEEPTTL') end
local from, got, size = '(' .. ARGV[2], {}, 0
if tonumber(string.match(ARGV[2], '^%d+')) < tonumber(string.match(oldest, '^%d+')) then from = oldest end
while #got < tonumber(ARGV[3]) and size < tonumber(ARGV[4]) do
  local e = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
  if not e then break end
  got[#got + 1] = e
  size = size + #(e[2][2] or '')
  from = '(' .. e[1]
end
local last = ''
if #got == 0 then
  last = '0-0'
  if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
  end
end
return {got, last}
`)

// workDone removes a task. If memory is full, it does so without updating the counted bytes rather than keep
// the task.
//
//	KEYS: stream, bytes   ARGV: entry, size
var workDone = rueidis.NewLuaScriptRetryable(`
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.pcall('DECRBY', KEYS[2], ARGV[2])
end
return 1
`)

// Put implements [broker.Work].
func (w *Work) Put(ctx context.Context, queue string, tasks ...broker.Task) (stored int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if w.log.ctx.Err() != nil {
		return 0, broker.ErrClosed
	}
	// Tasks before one that is too large are stored.
	var unfit error
	for i, t := range tasks {
		switch {
		case len(t.ID) > maxTaskID:
			unfit = fmt.Errorf("%w: the id of a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.ID), maxTaskID)
		case len(t.Body) > maxTask:
			unfit = fmt.Errorf("%w: a task has %d bytes, the limit is %d", broker.ErrTooLarge, len(t.Body), maxTask)
		}
		if unfit != nil {
			tasks = tasks[:i]
			break
		}
	}
	k := w.keys(queue)
	for stored < len(tasks) {
		part := firstTasks(tasks[stored:])
		keys := []string{k.stream, k.bytes}
		args := []string{milliseconds(workAge), strconv.Itoa(maxTasks), strconv.Itoa(maxTaskBytes), milliseconds(workWindow)}
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
		left, err := w.put(ctx, queue, keys, args)
		stored += len(part) - left
		if err != nil {
			return stored, err
		}
	}
	return stored, unfit
}

// firstTasks returns the tasks for one script run, which blocks the server while it lasts.
func firstTasks(tasks []broker.Task) []broker.Task {
	n, size := 0, 0
	for n < min(len(tasks), workBatch) && (n == 0 || size+len(tasks[n].Body) <= maxTask) {
		size += len(tasks[n].Body)
		n++
	}
	return tasks[:n]
}

// put runs the script until it is answered, and returns how many tasks of the part are not certainly stored.
func (w *Work) put(ctx context.Context, queue string, keys, args []string) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.log.opt.PublishTimeout)
	defer cancel()
	n := len(keys) - 2
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		left, err := workPut.Exec(ctx, w.log.pub, keys, args).AsInt64()
		w.log.leaveReplica(ctx, err)
		switch {
		case err == nil && left == 0:
			return 0, nil
		case err == nil:
			return int(left), fmt.Errorf("%w: %.100q", broker.ErrQueueFull, queue)
		case w.log.ctx.Err() != nil:
			return n, broker.ErrClosed
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return n, ctx.Err()
			}
			return n, unavailable("storing tasks", err)
		case <-time.After(wait):
		}
	}
}
