package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
)

// Options configure [Hooks]. Apps and Work are required.
type Options struct {
	Apps *app.Registry
	Work broker.Work
	// Registry, Prefix and Port are for metrics.
	Registry     prometheus.Registerer
	Prefix, Port string
	// Client sends the requests; nil for one of its own.
	Client *http.Client
	// Grace is how long a vacated channel and a member that left are withheld,
	// default 3 s. Timeout bounds one request, default 10 s. RetryFor is how long
	// it is repeated, default 5 min, with pauses from FirstRetry, default 250 ms,
	// to MaxRetry, default 30 s.
	Grace, Timeout, RetryFor, FirstRetry, MaxRetry time.Duration
	// Now is the clock for time_ms, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

const (
	// maxEmitted and maxEmittedBytes bound the events that wait to be put into
	// their queues. What comes beyond is dropped and counted.
	maxEmitted      = 65536
	maxEmittedBytes = 64 << 20
	// maxTaskID is the longest id of a task.
	maxTaskID = 256
	// putBatch is the number of events put into queues at a time.
	putBatch = 256
)

// Hooks takes events and delivers them. Make it with [New].
type Hooks struct {
	opt       Options
	client    *http.Client
	endpoints map[string][]*endpoint // by app
	metrics   metrics

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	stop    sync.Once

	mu      sync.Mutex
	emitted []emission
	bytes   int
	busy    bool
	// changed is closed and replaced when emitted or busy have changed.
	changed chan struct{}
}

type emission struct {
	to   *endpoint
	task broker.Task
}

// New starts delivering.
func New(opt Options) (*Hooks, error) {
	if opt.Apps == nil || opt.Work == nil {
		return nil, errors.New("webhook: Apps and Work are required")
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&opt.Grace, 3 * time.Second}, {&opt.Timeout, 10 * time.Second}, {&opt.RetryFor, 5 * time.Minute},
		{&opt.FirstRetry, 250 * time.Millisecond}, {&opt.MaxRetry, 30 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Registry == nil {
		opt.Registry = prometheus.NewRegistry()
	}
	h := &Hooks{opt: opt, endpoints: map[string][]*endpoint{}, changed: make(chan struct{}), client: opt.Client}
	if h.client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxConnsPerHost = 2 * lanes
		h.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	h.metrics = newMetrics(opt.Registry, opt.Prefix, h)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for _, id := range opt.Apps.IDs() {
		a := opt.Apps.ByID(id)
		for i := range a.Webhooks {
			e := newEndpoint(h, a, &a.Webhooks[i])
			h.endpoints[id] = append(h.endpoints[id], e)
			h.running.Go(func() { e.run(h.ctx) })
		}
	}
	h.running.Go(h.store)
	return h, nil
}

// Wants says whether any address of an app wants events of that name.
func (h *Hooks) Wants(a *app.App, name string) bool {
	for _, e := range h.endpoints[a.ID] {
		if e.hook.Wants(name, "") {
			return true
		}
	}
	return false
}

// Emit passes an event on to the addresses of an app that want it. It does not block.
func (h *Hooks) Emit(a *app.App, ev Event) {
	for _, e := range h.endpoints[a.ID] {
		if !e.hook.Wants(ev.Name, ev.Channel) {
			continue
		}
		text, err := encode(&ev)
		if err != nil {
			h.opt.Logger.Error("a webhook cannot be written", "app", a.ID, "error", err)
			continue
		}
		id := ev.ID
		if len(id) > maxTaskID {
			id = shorten(id)
		}
		h.mu.Lock()
		full := len(h.emitted) >= maxEmitted || h.bytes+len(text) > maxEmittedBytes
		if !full {
			h.emitted = append(h.emitted, emission{e, broker.Task{ID: id, Body: text}})
			h.bytes += len(text)
			h.wake()
		}
		h.mu.Unlock()
		if full {
			h.metrics.dropped.WithLabelValues(a.ID, "queue", h.opt.Port).Inc()
			continue
		}
		h.metrics.emitted.WithLabelValues(a.ID, h.opt.Port).Inc()
	}
}

func (h *Hooks) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// store puts events into their queues, in order, until it succeeds.
func (h *Hooks) store() {
	for {
		h.mu.Lock()
		n := 0
		var part []broker.Task
		for n < len(h.emitted) && n < putBatch && h.emitted[n].to == h.emitted[0].to {
			part = append(part, h.emitted[n].task)
			n++
		}
		var to *endpoint
		if n > 0 {
			to = h.emitted[0].to
		}
		changed := h.changed
		h.busy = n > 0
		h.mu.Unlock()
		if n == 0 {
			select {
			case <-changed:
				continue
			case <-h.ctx.Done():
				return
			}
		}
		err := h.opt.Work.Put(h.ctx, to.queue, part...)
		if err != nil && h.ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, broker.ErrTooLarge) {
			h.opt.Logger.Warn("webhooks could not be stored; they are tried again", "error", err)
			select {
			case <-time.After(h.opt.FirstRetry):
			case <-h.ctx.Done():
				return
			}
			continue
		}
		h.mu.Lock()
		if err != nil {
			h.metrics.dropped.WithLabelValues(to.app.ID, "size", h.opt.Port).Add(float64(n))
		}
		for _, m := range h.emitted[:n] {
			h.bytes -= len(m.task.Body)
		}
		clear(h.emitted[:n])
		if h.emitted = h.emitted[n:]; len(h.emitted) == 0 {
			h.emitted, h.busy = nil, false
		}
		h.wake()
		h.mu.Unlock()
	}
}

// Close waits until what was emitted is stored, or ctx is done, and ends everything.
// What is stored another gateway delivers.
func (h *Hooks) Close(ctx context.Context) {
	h.stop.Do(func() {
		for {
			h.mu.Lock()
			idle, changed := len(h.emitted) == 0 && !h.busy, h.changed
			h.mu.Unlock()
			if idle {
				break
			}
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			}
			break
		}
		h.cancel()
		h.running.Wait()
		h.client.CloseIdleConnections()
	})
}

func (h *Hooks) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.emitted)
}
