package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

// workHold takes or renews the right to take from a queue. Neither needs room where memory is full: the taker is
// the one that frees some, and all takers may have ended meanwhile.
//
//	KEYS: lock   ARGV: holder, life ms   answers: 1 if it is the holder's
var workHold = rueidis.NewLuaScriptRetryable(`#!lua flags=allow-oom
local have = redis.call('GET', KEYS[1])
if have and have ~= ARGV[1] then return 0 end
if have then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
`)

// workFree gives up the right.
var workFree = rueidis.NewLuaScriptRetryable(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)

// taking is one call of Take that has or waits for its turn.
type taking struct {
	work   *Work
	keys   workKeys
	holder string

	mu           rank.Mutex[rank.RedisTaking]
	under, bytes int
	finished     chan struct{}
}

func (k *taking) hold(ctx context.Context) (bool, error) {
	n := int64(0)
	err := k.work.log.try(ctx, func(ctx context.Context) (err error) {
		n, err = workHold.Exec(ctx, k.work.log.pub, []string{k.keys.lock}, []string{k.holder, milliseconds(k.work.lease)}).AsInt64()
		return err
	})
	return n == 1, err
}

// Take implements [broker.Work].
func (w *Work) Take(ctx context.Context, queue string, pending int, do func(broker.Taken)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(w.log.ctx, func() { cancel(fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)) })
	defer stop()
	k := &taking{work: w, keys: w.keys(queue), holder: rand.Text(), finished: make(chan struct{}, 1)}
	if err := k.acquire(ctx); err != nil {
		return err
	}
	var renewing sync.WaitGroup
	renewing.Go(func() { k.renew(ctx, cancel) })
	err := k.takeAll(ctx, pending, do)
	cancel(nil)
	renewing.Wait()
	free, end := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer end()
	_ = w.log.try(free, func(ctx context.Context) error { // or it expires
		return workFree.Exec(ctx, w.log.pub, []string{k.keys.lock}, []string{k.holder}).Error()
	})
	return err
}

// acquire waits for the right.
func (k *taking) acquire(ctx context.Context) error {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		if mine, err := k.hold(ctx); err == nil && mine {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
		}
	}
}

// renew renews the right, and ends the call of Take when the right is lost or about to expire.
func (k *taking) renew(ctx context.Context, end context.CancelCauseFunc) {
	since := time.Now()
	tick := time.NewTicker(k.work.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		try, cancel := context.WithTimeout(ctx, k.work.lease/3)
		mine, err := k.hold(try)
		cancel()
		switch {
		case err == nil && mine:
			since = began
		case err == nil, time.Since(since) > k.work.lease*2/3:
			end(fmt.Errorf("%w: the right to take from the queue is lost", broker.ErrUnavailable))
			return
		}
	}
}

func (k *taking) takeAll(ctx context.Context, pending int, do func(broker.Taken)) error {
	after := "0-0"
	for ctx.Err() == nil {
		tasks, bytes := k.room(pending)
		if tasks <= 0 || bytes <= 0 {
			select {
			case <-ctx.Done():
			case <-k.finished:
			}
			continue
		}
		got, back := k.next(ctx, after, min(tasks, workBatch), min(bytes, maxTask))
		if back {
			if k.busy() {
				return fmt.Errorf("%w: the queue has lost tasks", broker.ErrUnavailable)
			}
			after = "0-0"
		}
		for _, e := range got {
			if ctx.Err() != nil {
				break
			}
			after = e.ID
			do(k.taken(e))
		}
	}
	return context.Cause(ctx)
}

// busy reports whether tasks are handed out and not done.
func (k *taking) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.under > 0
}

// next returns tasks after an entry, within the bounds. It waits a short time for some. back reports that the
// queue went back behind the entry.
func (k *taking) next(ctx context.Context, after string, tasks, bytes int) (got []rueidis.XRangeEntry, back bool) {
	got, back, err := k.read(ctx, after, tasks, bytes)
	if back {
		return nil, true
	}
	if err == nil && len(got) == 0 {
		called, err := k.await(ctx, after)
		if err == nil && !called {
			return nil, false
		}
		if called {
			got, _, _ = k.read(ctx, after, tasks, bytes)
		}
	}
	if len(got) == 0 {
		// No server answers, or a replica reported a task that the primary does not have.
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return got, false
}

// read returns tasks after an entry, within the bounds. back reports that the last id of the queue is lower
// than the entry: a server that lost tasks may give out lower ids again.
func (k *taking) read(ctx context.Context, after string, tasks, bytes int) (got []rueidis.XRangeEntry, back bool, err error) {
	var answer []rueidis.RedisMessage
	err = k.work.log.try(ctx, func(ctx context.Context) (err error) {
		answer, err = workRead.Exec(ctx, k.work.log.pub, []string{k.keys.stream, k.keys.bytes},
			[]string{milliseconds(workAge), after, strconv.Itoa(tasks), strconv.Itoa(bytes)}).ToArray()
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if len(answer) != 2 {
		return nil, false, errNotOurs
	}
	if got, err = answer[0].AsXRange(); err != nil || len(got) > 0 {
		return got, false, err
	}
	last, err := answer[1].ToString()
	return nil, err == nil && sequenceOf(last) < sequenceOf(after), err
}

// await waits until there is a task after an entry, for at most workPoll, and reports whether there is. It
// uses a connection of its own, perhaps to a server that became a replica, so the result is only a hint.
func (k *taking) await(ctx context.Context, after string) (called bool, err error) {
	c := k.work.log.read
	err = c.Do(ctx, c.B().Xread().Count(1).Block(workPoll.Milliseconds()).Streams().Key(k.keys.stream).Id(after).Build()).Error()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	return err == nil, err
}

// room returns how many more tasks, and about how many bytes, may be handed out.
func (k *taking) room(pending int) (tasks, bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return pending - k.under, maxUnder - k.bytes
}

func (k *taking) taken(e rueidis.XRangeEntry) broker.Taken {
	body := e.FieldValues["b"]
	k.mu.Lock()
	k.under++
	k.bytes += len(body)
	k.mu.Unlock()
	sequence := sequenceOf(e.ID)
	var once sync.Once
	return broker.Taken{
		Task:     broker.Task{ID: e.FieldValues["i"], Body: []byte(body)},
		Sequence: sequence, Stored: time.UnixMilli(int64(sequence >> serialBits)).UTC(),
		Done: func(ctx context.Context) error { return k.done(ctx, e.ID, len(body), &once) },
	}
}

// serialBits is the number of bits for the serial number within a millisecond.
const serialBits = 20

// sequenceOf converts the id of an entry to a number that rises with it.
func sequenceOf(id string) uint64 {
	millis, serial, _ := strings.Cut(id, "-")
	at, _ := strconv.ParseUint(millis, 10, 64)
	n, _ := strconv.ParseUint(serial, 10, 64)
	return at<<serialBits + min(n, 1<<serialBits-1)
}

// done removes a task. The caller may retry after an error; the first call frees the task's room.
func (k *taking) done(ctx context.Context, id string, size int, once *sync.Once) error {
	c := k.work.log.pub
	err := k.work.log.attempt(ctx, func(ctx context.Context) error {
		return workDone.Exec(ctx, c, []string{k.keys.stream, k.keys.bytes}, []string{id, strconv.Itoa(size)}).Error()
	})
	once.Do(func() {
		k.mu.Lock()
		k.under--
		k.bytes -= size
		k.mu.Unlock()
		select {
		case k.finished <- struct{}{}:
		default:
		}
	})
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return unavailable("removing a task", err)
}
