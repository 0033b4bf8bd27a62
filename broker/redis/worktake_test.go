package redis

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// collecting takes from a queue until the test ends.
type collecting struct {
	mu   sync.Mutex
	got  []broker.Taken
	stop func()
}

func collect(t *testing.T, w *Work, pending int) *collecting {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, ended := &collecting{}, make(chan error, 1)
	go func() {
		ended <- w.Take(ctx, "q", pending, c.take)
	}()
	c.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(c.stop)
	return c
}

func (c *collecting) take(task broker.Taken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, task)
}

func (c *collecting) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

func (c *collecting) finish(t *testing.T, i int) {
	t.Helper()
	c.mu.Lock()
	task := c.got[i]
	c.mu.Unlock()
	if err := task.Done(t.Context()); err != nil {
		t.Fatalf("task %d: %v", i, err)
	}
}

// TestTasksAreReadOnce: before, with more than 64 MiB in a queue the server sent up to 64 tasks for each one
// that was done, of which one was handed out.
func TestTasksAreReadOnce(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	w := open(t, server.URL(), false, silent).OpenWork()
	const n, size = 80, 1 << 20
	body := bytes.Repeat([]byte("x"), size)
	for i := range n {
		if _, err := w.Put(t.Context(), "q", broker.Task{ID: strconv.Itoa(i), Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	sent := func() int64 { n, _ := strconv.ParseInt(server.Info("total_net_output_bytes"), 10, 64); return n }
	before := sent()
	c := collect(t, w, 2*n)
	for i := range n {
		until(t, "as many are taken as may be", func() bool { return c.len() >= min(i+maxUnder/size, n) })
		if under := c.len() - i; under > maxUnder/size {
			t.Fatalf("%d are handed out and not done", under)
		}
		c.finish(t, i)
	}
	if got := sent() - before; got > (n+8)*size {
		t.Errorf("%d bytes were sent for tasks of %d", got, n*size)
	}
}

// TestTasksAreTakenWhileMemoryIsFull: before, the taker of a queue lost its lock when nothing could be
// written any more, and finished tasks were not removed, although that is what makes room. Nor could another
// taker get the lock of one that had ended.
func TestTasksAreTakenWhileMemoryIsFull(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	w := open(t, server.URL(), false, silent).OpenWork()
	// The lease is long enough for a busy machine to renew it in time; a taker that did not would begin
	// again.
	w.lease = 6 * time.Second
	const n = 5
	for i := range n {
		if _, err := w.Put(t.Context(), "q", broker.Task{ID: strconv.Itoa(i), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	c := collect(t, w, 1)
	until(t, "the first is taken", func() bool { return c.len() == 1 })
	server.Do("CONFIG SET maxmemory 1mb")
	lock := w.keys("q").lock
	holder := server.Lines("GET " + lock)
	life := func() int { ms, _ := strconv.Atoi(strings.TrimPrefix(server.Do("PTTL "+lock), ":")); return ms }
	before := life()
	until(t, "the right is kept for longer", func() bool {
		now := life()
		renewed := now > before
		before = now
		return renewed
	})
	if now := server.Lines("GET " + lock); strings.Join(now, " ") != strings.Join(holder, " ") {
		t.Errorf("the right is that of %q, want %q", now, holder)
	}
	c.stop()
	c = collect(t, w, 1)
	for i := range n {
		until(t, fmt.Sprintf("%d are taken", i+1), func() bool { return c.len() > i })
		c.finish(t, i)
	}
	if left := server.Do("XLEN " + w.keys("q").stream); left != ":0" {
		t.Errorf("%s tasks are left", left)
	}
}

// TestTasksOfAServerThatLostSome: before, a server that came back without a queue, with a clock behind, gave
// tasks identifiers below those already read, and these were not handed out until the taker ended.
func TestTasksOfAServerThatLostSome(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]bool{"nothing is under way": false, "something is": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t)
			w := open(t, server.URL(), false, silent).OpenWork()
			k := w.keys("q")
			ctx, cancel := context.WithCancel(context.Background())
			c, ended := &collecting{}, make(chan struct{})
			go func() {
				defer close(ended)
				for ctx.Err() == nil { // as a taker does
					_ = w.Take(ctx, "q", 10, c.take)
				}
			}()
			t.Cleanup(func() { cancel(); <-ended })
			if _, err := w.Put(t.Context(), "q", broker.Task{Body: []byte("before")}); err != nil {
				t.Fatal(err)
			}
			until(t, "it is taken", func() bool { return c.len() == 1 })
			if !busy {
				c.finish(t, 0)
			}
			server.Do("DEL " + k.stream + " " + k.bytes)
			server.Do(fmt.Sprintf("XADD %s %d-0 b after i id", k.stream, time.Now().Add(-time.Hour).UnixMilli()))
			until(t, "the other one is taken", func() bool { return c.len() >= 2 })
			c.mu.Lock()
			defer c.mu.Unlock()
			if got := string(c.got[1].Body); got != "after" {
				t.Errorf("took %s", got)
			}
		})
	}
}
