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

// taker takes from a queue until it is stopped.
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

// RunWork runs the suite of [broker.Work]. open returns empty queues, the same for all
// calls of one test, as two processes would have them.
func RunWork(t *testing.T, open func(t *testing.T) (one, other broker.Work)) {
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
		one, other := open(t)
		put(t, one, "q 1/ü", numbered(0, 600)...)
		put(t, other, "q 1/ü", numbered(590, 610)...)
		put(t, other, "another", numbered(0, 3)...)
		wait(t, take(t, one, "q 1/ü", 4096), texts(610))
		wait(t, take(t, other, "another", 10), texts(3))
	})
	t.Run("one at a time, and what is not done comes again", func(t *testing.T) {
		one, other := open(t)
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
		one, _ := open(t)
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
		one, _ := open(t)
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
		one, other := open(t)
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
		if !errors.Is(err, broker.ErrUnavailable) {
			t.Fatalf("%d tasks of 64 KiB were stored: %v; want the queue to be full", stored, err)
		}
		if bytes := stored * len(body); bytes < 4<<20 || bytes > 256<<20 {
			t.Errorf("a queue holds %d bytes", bytes)
		}
		put(t, other, "another", numbered(0, 300)...)
		wait(t, take(t, one, "another", 1000), texts(300))
		// What is done makes room.
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
}
