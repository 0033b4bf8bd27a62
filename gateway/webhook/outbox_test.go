package webhook

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// refusing is a backend in which one queue is full.
type refusing struct {
	*memory.Work
	queue func(queue string) bool
}

func (w *refusing) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	if w.queue(queue) {
		return fmt.Errorf("%w: full", broker.ErrUnavailable)
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

// narrow refuses large tasks.
type narrow struct{ *memory.Work }

func (w narrow) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	for _, t := range tasks {
		if len(t.Body) > 1000 {
			return broker.ErrTooLarge
		}
	}
	return w.Work.Put(ctx, queue, tasks...)
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

func (w *gated) Put(ctx context.Context, queue string, tasks ...broker.Task) error {
	w.before()
	return w.narrow.Put(ctx, queue, tasks...)
}
