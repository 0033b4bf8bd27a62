package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// taker takes tasks from a queue until it is stopped.
type taker struct {
	mu   sync.Mutex
	got  []broker.Taken
	stop func() error
}

func take(t *testing.T, w broker.Work, queue string, pending int) *taker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k, ended := &taker{}, make(chan error, 1)
	go func() {
		ended <- w.Take(ctx, queue, pending, func(task broker.Taken) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.got = append(k.got, task)
		})
	}()
	k.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = k.stop() })
	return k
}

func (k *taker) bodies() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, task := range k.got {
		out = append(out, string(task.Body))
	}
	return out
}

func (k *taker) finish(t *testing.T, i int) {
	t.Helper()
	k.mu.Lock()
	task := k.got[i]
	k.mu.Unlock()
	if err := task.Done(context.Background()); err != nil {
		t.Errorf("finishing a task: %v", err)
	}
}

func numbered(from, to int) []broker.Task {
	var out []broker.Task
	for i := from; i < to; i++ {
		out = append(out, broker.Task{ID: fmt.Sprint("id-", i), Body: []byte(fmt.Sprint(i))})
	}
	return out
}

func texts(to int) []string {
	var out []string
	for i := range to {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// Queues are the same empty queues as seen by two processes.
type Queues struct {
	One, Other broker.Work
	// Age makes all waiting tasks of a queue older than tasks are kept, and returns when the backend has
	// noticed. Nil if that cannot be caused.
	Age func(t *testing.T, queue string)
	// Vacates means that age also removes tasks that are handed out, one after the other, and that the next
	// tasks are handed out in their place.
	Vacates bool
}

// RunWork runs the suite of [broker.Work]. open returns new queues for each test.
func RunWork(t *testing.T, open func(t *testing.T) Queues) {
	wait := func(t *testing.T, k *taker, want []string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d tasks are taken", len(want)), func() bool { return len(k.bodies()) >= len(want) })
		if got := k.bodies(); !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
	}
	put := func(t *testing.T, w broker.Work, queue string, tasks ...broker.Task) {
		t.Helper()
		if _, err := w.Put(t.Context(), queue, tasks...); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("in order, each once", func(t *testing.T) {
		q := open(t)
		one, other := q.One, q.Other
		put(t, one, "q 1/ü", numbered(0, 600)...)
		put(t, other, "q 1/ü", numbered(590, 610)...)
		put(t, other, "another", numbered(0, 3)...)
		wait(t, take(t, one, "q 1/ü", 4096), texts(610))
		wait(t, take(t, other, "another", 10), texts(3))
	})
	t.Run("one at a time, and what is not done comes again", func(t *testing.T) {
		q := open(t)
		one, other := q.One, q.Other
		first := take(t, one, "q", 100)
		put(t, one, "q", numbered(0, 5)...)
		wait(t, first, texts(5))
		first.finish(t, 0)
		first.finish(t, 2)
		second := take(t, other, "q", 100)
		put(t, one, "q", numbered(5, 7)...)
		wait(t, first, texts(7))
		if err := first.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("a taker that was stopped said %v", err)
		}
		wait(t, second, []string{"1", "3", "4", "5", "6"})
	})
	t.Run("no more than are pending", func(t *testing.T) {
		one := open(t).One
		k := take(t, one, "q", 3)
		put(t, one, "q", numbered(0, 10)...)
		wait(t, k, texts(3))
		for i := range 10 {
			eventually(t, "the next comes", func() bool { return len(k.bodies()) > i })
			if n := len(k.bodies()); n > i+3 {
				t.Fatalf("%d were handed out when %d were done", n, i)
			}
			k.finish(t, i)
		}
		wait(t, k, texts(10))
	})
	t.Run("one that is too large leaves what stands before it", func(t *testing.T) {
		one := open(t).One
		tasks := numbered(0, 5)
		tasks[3].ID = strings.Repeat("x", 257)
		if stored, err := one.Put(t.Context(), "q", tasks...); stored != 3 || !errors.Is(err, broker.ErrTooLarge) {
			t.Fatalf("%d are stored: %v; want 3 and the one that is too large", stored, err)
		}
		if stored, err := one.Put(t.Context(), "q", tasks[4]); stored != 1 || err != nil {
			t.Fatalf("%d are stored: %v", stored, err)
		}
		wait(t, take(t, one, "q", 10), []string{"0", "1", "2", "4"})
	})
	t.Run("a full queue says how far it got, and leaves others their room", func(t *testing.T) {
		q := open(t)
		one, other := q.One, q.Other
		body := make([]byte, 64<<10)
		sent, stored := 0, 0
		var err error
		for err == nil && sent < 1<<16 {
			var tasks []broker.Task
			for range 50 {
				tasks = append(tasks, broker.Task{ID: fmt.Sprint("large-", sent), Body: body})
				sent++
			}
			var n int
			n, err = one.Put(t.Context(), "full", tasks...)
			stored += n
		}
		if !errors.Is(err, broker.ErrQueueFull) || !errors.Is(err, broker.ErrUnavailable) {
			t.Fatalf("%d tasks of 64 KiB were stored: %v; want the queue to be full", stored, err)
		}
		if bytes := stored * len(body); bytes < 4<<20 || bytes > 256<<20 {
			t.Errorf("a queue holds %d bytes", bytes)
		}
		put(t, other, "another", numbered(0, 300)...)
		wait(t, take(t, one, "another", 1000), texts(300))
		// A finished task makes room.
		k := take(t, other, "full", 10)
		eventually(t, "some are taken", func() bool { return len(k.bodies()) >= 10 })
		for i := range 10 {
			k.finish(t, i)
		}
		eventually(t, "there is room again", func() bool {
			n, _ := one.Put(t.Context(), "full", broker.Task{ID: "more", Body: body})
			return n == 1
		})
	})
	testWorkAge(t, open)
}

// testWorkAge checks what becomes of tasks that waited for too long to be useful. They are dropped silently,
// and the taker gets later ones.
func testWorkAge(t *testing.T, open func(t *testing.T) Queues) {
	aging := func(t *testing.T) Queues {
		q := open(t)
		if q.Age == nil {
			t.Skip("tasks cannot be made old")
		}
		return q
	}
	bodies := func(t *testing.T, k *taker, want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d tasks are taken", len(want)), func() bool { return len(k.bodies()) >= len(want) })
		if got := k.bodies(); !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
	}
	put := func(t *testing.T, w broker.Work, tasks ...broker.Task) {
		t.Helper()
		if _, err := w.Put(t.Context(), "q", tasks...); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("what is too old is not handed out", func(t *testing.T) {
		q := aging(t)
		put(t, q.One, numbered(0, 200)...)
		q.Age(t, "q")
		k := take(t, q.Other, "q", 100)
		put(t, q.One, numbered(200, 203)...)
		bodies(t, k, "200", "201", "202")
	})
	t.Run("nor to whoever has something else to do meanwhile", func(t *testing.T) {
		q := aging(t)
		if q.Vacates {
			t.Skip("what is about to age is handed out meanwhile")
		}
		k := take(t, q.One, "q", 1)
		put(t, q.One, numbered(0, 4)...)
		bodies(t, k, "0")
		q.Age(t, "q")
		put(t, q.Other, numbered(4, 5)...)
		k.finish(t, 0)
		bodies(t, k, "0", "4")
		k.finish(t, 1)
	})
}
