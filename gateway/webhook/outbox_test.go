package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// refusing is a backend with one full queue.
type refusing struct {
	*memory.Work
	queue func(queue string) bool
}

func (w *refusing) Put(ctx context.Context, queue string, tasks ...broker.Task) (int, error) {
	if w.queue(queue) {
		return 0, broker.ErrQueueFull
	}
	return w.Work.Put(ctx, queue, tasks...)
}

func TestWH08AFullQueueHoldsUpNoOther(t *testing.T) {
	good := listen(t, nil)
	a := tenant(app.Webhook{URL: "http://127.0.0.1:1/"}, app.Webhook{URL: good.URL})
	full := newEndpoint(&Hooks{}, a, &a.Webhooks[0]).queue
	h := run(t, a, &refusing{memory.NewWork(), func(q string) bool { return q == full }}, nil)
	for i := range 3 {
		h.Emit(a, Event{Name: CacheMiss, Channel: fmt.Sprint(i)})
	}
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	defer func() { // Close would wait for the full queue
		h.cancel()
	}()
	for len(good.names()) < 3 {
		select {
		case <-deadline:
			t.Fatalf("the other address got %v", good.names())
		case <-tick.C:
		}
	}
}

// TestNobodyWaitsForAQueueThatIsFullForLong: what a gateway has told is noted when all of it is stored. The
// full queue of one application does not keep that from all others.
func TestNobodyWaitsForAQueueThatIsFullForLong(t *testing.T) {
	began := time.Now()
	for _, c := range []struct {
		about  string
		errors []error // one every ten seconds
		want   bool
	}{
		{"not tried yet", nil, false},
		{"full for a moment", []error{broker.ErrQueueFull, broker.ErrQueueFull}, false},
		{"full for long", slices.Repeat([]error{broker.ErrQueueFull}, 8), true},
		{"out of reach for long", slices.Repeat([]error{broker.ErrUnavailable}, 8), false},
		{"room for a moment", append(slices.Repeat([]error{broker.ErrQueueFull}, 8), nil, broker.ErrQueueFull), false},
	} {
		t.Run(c.about, func(t *testing.T) {
			var o outbox
			now := began
			if o.settled(now) != now {
				t.Error("nothing is waited for")
			}
			o.changed = make(chan struct{}, 1)
			o.add(broker.Task{}, now)
			for _, err := range c.errors {
				o.tried(err, now)
				now = now.Add(10 * time.Second)
			}
			want := began
			if c.want {
				want = now
			}
			if got := o.settled(now); got != want {
				t.Errorf("settled up to %v, want %v", got.Sub(began), want.Sub(began))
			}
			if o.remove(1); o.settled(now) != now {
				t.Error("what is stored is waited for")
			}
		})
	}
}

// TestWhatNeverStopsIsSettledAsItIsStored: with a busy gateway a task always waits, each for a second. Tasks
// older than the oldest waiting one are settled all the same. Otherwise they would be told again when the
// gateway dies.
func TestWhatNeverStopsIsSettledAsItIsStored(t *testing.T) {
	o := outbox{changed: make(chan struct{}, 1)}
	began := time.Now()
	for second := range 300 {
		now := began.Add(time.Duration(second) * time.Second)
		o.add(broker.Task{}, now)
		if second > 0 {
			o.remove(1)
		}
		if got := o.settled(now.Add(time.Second)); got != now {
			t.Fatalf("after %d s it is settled up to %v", second, got.Sub(began))
		}
	}
}

// narrow refuses large tasks.
type narrow struct{ *memory.Work }

func (w narrow) Put(ctx context.Context, queue string, tasks ...broker.Task) (int, error) {
	for i, t := range tasks {
		if len(t.Body) > 1000 {
			return i, broker.ErrTooLarge
		}
		if _, err := w.Work.Put(ctx, queue, t); err != nil {
			return i, err
		}
	}
	return len(tasks), nil
}

func TestOneThatIsTooLargeTakesNoOthersAlong(t *testing.T) {
	r := listen(t, nil)
	a := tenant(app.Webhook{URL: r.URL})
	var once sync.Once
	gate := make(chan struct{})
	w := &gated{narrow{memory.NewWork()}, func() { once.Do(func() { <-gate }) }}
	h := run(t, a, w, nil)
	for i := range 5 {
		data := fmt.Sprint(i)
		if i == 3 {
			data = strings.Repeat("x", 2000)
		}
		h.Emit(a, Event{Name: ClientEvent, Channel: "c", Data: data})
	}
	close(gate)
	eventually(t, "the others have come", func() bool { return len(r.names()) >= 4 })
	if n := total(h.metrics.dropped); n != 1 {
		t.Errorf("%v were dropped, want 1", n)
	}
}

type gated struct {
	narrow
	before func()
}

func (w *gated) Put(ctx context.Context, queue string, tasks ...broker.Task) (int, error) {
	w.before()
	return w.narrow.Put(ctx, queue, tasks...)
}

// forgetful is a queue with little room that takes one task at a time and forgets ids at once, as a real one
// does after two minutes. Now and then it does not answer.
type forgetful struct {
	mu     sync.Mutex
	room   int
	calls  int
	stored []string
}

func (w *forgetful) Put(_ context.Context, _ string, tasks ...broker.Task) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, t := range tasks {
		if w.calls++; w.calls%7 == 0 {
			return i, fmt.Errorf("%w: no answer", broker.ErrUnavailable)
		}
		if w.room == 0 {
			return i, fmt.Errorf("%w: full", broker.ErrUnavailable)
		}
		w.room--
		w.stored = append(w.stored, string(t.Body))
	}
	return len(tasks), nil
}

func (w *forgetful) Take(ctx context.Context, _ string, _ int, _ func(broker.Taken)) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestTrust17AFullQueueFillsWithNoCopies: tasks of a batch that are stored are not stored again, however long
// the rest has to wait.
func TestTrust17AFullQueueFillsWithNoCopies(t *testing.T) {
	w := &forgetful{}
	a := tenant(app.Webhook{URL: "http://127.0.0.1:1/"})
	h := run(t, a, w, nil)
	const n = 3 * putEvents
	for i := range n {
		h.Emit(a, Event{ID: fmt.Sprint(i), Name: CacheMiss, Channel: fmt.Sprint(i)})
	}
	e := h.of(a.ID)[0]
	for have := 0; have < n; {
		w.mu.Lock()
		w.room = 100
		w.mu.Unlock()
		eventually(t, "it is full, or everything is stored", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.room == 0 || e.out.len() == 0
		})
		w.mu.Lock()
		have = len(w.stored)
		w.mu.Unlock()
	}
	eventually(t, "nothing waits", func() bool { return e.out.len() == 0 })
	for i, body := range w.stored {
		if want := fmt.Sprintf(`"c":"%d"`, i); !strings.Contains(body, want) {
			t.Fatalf("event %d is %s, want %s", i, body, want)
		}
	}
	if len(w.stored) != n {
		t.Errorf("%d are stored, want %d", len(w.stored), n)
	}
}
