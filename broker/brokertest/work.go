package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

func texts(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
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
		if err := w.Put(t.Context(), queue, tasks...); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("in order, each once", func(t *testing.T) {
		one, other := open(t)
		put(t, one, "q 1/ü", numbered(0, 600)...)
		put(t, other, "q 1/ü", numbered(590, 610)...)
		put(t, other, "another", numbered(0, 3)...)
		wait(t, take(t, one, "q 1/ü", 4096), texts(0, 610))
		wait(t, take(t, other, "another", 10), texts(0, 3))
	})
	t.Run("one at a time, and what is not done comes again", func(t *testing.T) {
		one, other := open(t)
		first := take(t, one, "q", 100)
		put(t, one, "q", numbered(0, 5)...)
		wait(t, first, texts(0, 5))
		first.finish(t, 0)
		first.finish(t, 2)
		second := take(t, other, "q", 100)
		put(t, one, "q", numbered(5, 7)...)
		wait(t, first, texts(0, 7))
		if err := first.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("a taker that was stopped said %v", err)
		}
		wait(t, second, []string{"1", "3", "4", "5", "6"})
	})
	t.Run("no more than are pending", func(t *testing.T) {
		one, _ := open(t)
		k := take(t, one, "q", 3)
		put(t, one, "q", numbered(0, 10)...)
		wait(t, k, texts(0, 3))
		for i := range 10 {
			eventually(t, "the next comes", func() bool { return len(k.bodies()) > i })
			if n := len(k.bodies()); n > i+3 {
				t.Fatalf("%d were handed out when %d were done", n, i)
			}
			k.finish(t, i)
		}
		wait(t, k, texts(0, 10))
	})
}
