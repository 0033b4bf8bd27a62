package memory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/brokertest"
)

func TestWork(t *testing.T) {
	brokertest.RunWork(t, func(t *testing.T) brokertest.Queues {
		w, ahead := NewWork(), atomic.Int64{}
		w.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		t.Cleanup(func() { _ = w.Close() })
		return brokertest.Queues{One: w, Other: w, Age: func(*testing.T, string) { ahead.Add(int64(taskAge + time.Second)) }}
	})
}

// TestWorkIsBounded fills a queue. What was stored before it was full is handed out,
// though the call that stored it failed, and what is done makes room.
func TestWorkIsBounded(t *testing.T) {
	w := NewWork()
	taken := make(chan broker.Taken, maxTasks)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Take(ctx, "q", maxTasks, func(task broker.Taken) { taken <- task }) }()
	tasks := make([]broker.Task, maxTasks+10)
	for i := range tasks {
		tasks[i] = broker.Task{ID: fmt.Sprint(i), Body: []byte("x")}
	}
	if _, err := w.Put(t.Context(), "q", tasks...); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("a full queue said %v", err)
	}
	if _, err := w.Put(t.Context(), "another", tasks[0]); err != nil {
		t.Errorf("another queue said %v", err)
	}
	for range maxTasks {
		if err := (<-taken).Done(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Put(t.Context(), "q", tasks[maxTasks:]...); err != nil {
		t.Errorf("an empty queue said %v", err)
	}
	if task := <-taken; task.ID != fmt.Sprint(maxTasks) {
		t.Errorf("took %s", task.ID)
	}
	if n := w.queues["q"].ids.order.len(); n > maxTasks {
		t.Errorf("%d ids are remembered", n)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for name, task := range map[string]broker.Task{
		"body": {Body: make([]byte, maxTask+1)}, "id": {ID: string(make([]byte, maxTaskID+1))},
	} {
		if _, err := w.Put(t.Context(), "q", task); !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("a large %s gave %v", name, err)
		}
	}
}

func TestWorkEnds(t *testing.T) {
	w := NewWork()
	ended, taken := make(chan error, 2), make(chan broker.Taken, 1)
	if _, err := w.Put(t.Context(), "q", broker.Task{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one takes, one waits
		go func() { ended <- w.Take(t.Context(), "q", 1, func(task broker.Taken) { taken <- task }) }()
	}
	<-taken
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, broker.ErrUnavailable) || !errors.Is(err, broker.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := w.Put(t.Context(), "q", broker.Task{}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("got %v", err)
	}
	_ = w.Close()
}
