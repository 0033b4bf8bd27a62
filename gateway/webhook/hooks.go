package webhook

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/trace"
)

// Options configure [Hooks]. Apps and Work are required.
type Options struct {
	Apps *app.Registry
	Work broker.Work
	// Registry, Prefix and Port are for metrics.
	Registry     prometheus.Registerer
	Prefix, Port string
	// Client sends the requests; nil creates one. Redirects are not followed in any case.
	Client *http.Client
	// Tracer records each request, and passes the trace context to the receiver; nil for no traces.
	Tracer trace.Tracer
	// Dial wraps the function with which a created client opens connections; nil leaves it unchanged.
	Dial func(dial Dialer) Dialer
	// Grace is how long vacated channels and removed members are withheld, default 3 s. Timeout bounds one
	// request, default 10 s. RetryFor is how long it is repeated, default 5 min, with pauses from FirstRetry,
	// default 250 ms, to MaxRetry, default 30 s.
	Grace, Timeout, RetryFor, FirstRetry, MaxRetry time.Duration
	// Now is the clock for time_ms, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Dialer opens a connection, like [net.Dialer.DialContext].
type Dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// maxTaskID is the maximum length of a task id.
const maxTaskID = 256

// Hooks accepts events and delivers them. [New] creates it. Its methods are safe for concurrent use.
type Hooks struct {
	opt     Options
	client  *http.Client
	own     *http.Transport // nil if the client was given
	metrics metrics
	// endpoints are by app; the map is replaced as a whole. changing serializes that.
	endpoints atomic.Pointer[map[string][]*endpoint]
	changing  sync.Mutex
	closed    bool

	// When quit is done, no more requests are begun. When ctx is done, those in flight end.
	quit, ctx        context.Context
	stop, cancel     context.CancelFunc
	storing, running sync.WaitGroup
	once             sync.Once
}

// New checks the options and starts delivering.
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
	h := &Hooks{opt: opt}
	h.endpoints.Store(&map[string][]*endpoint{})
	h.openClient()
	h.metrics.open(h)
	h.quit, h.stop = context.WithCancel(context.Background())
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.Apply(); err != nil {
		h.Close(h.quit)
		return nil, err
	}
	return h, nil
}

// Apply adopts the addresses of the registry. Pending events of a removed address are still stored, for gateways
// that still deliver to it. After an error nothing has changed.
func (h *Hooks) Apply() error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if h.closed {
		return nil
	}
	before := *h.endpoints.Load()
	byQueue := map[string]*endpoint{}
	for _, all := range before {
		for _, e := range all {
			byQueue[e.queue] = e
		}
	}
	next, hooks := map[string][]*endpoint{}, map[*endpoint]*app.Webhook{}
	for _, id := range h.opt.Apps.IDs() {
		a := h.opt.Apps.ByID(id)
		if a == nil {
			continue
		}
		for i := range a.Webhooks {
			w := &a.Webhooks[i]
			e := newEndpoint(h, a, w)
			if known := byQueue[e.queue]; known != nil {
				e = known
			}
			if hooks[e] != nil {
				return fmt.Errorf("webhook: the app %s has two webhooks for %s", id, e.shown)
			}
			byQueue[e.queue], hooks[e] = e, w
			next[id] = append(next[id], e)
		}
	}
	for e, w := range hooks {
		if e.take(w); e.ctx == nil {
			e.begin()
		}
	}
	h.metrics.begin(h.opt.Apps, next)
	h.endpoints.Store(&next)
	for _, e := range byQueue {
		if hooks[e] == nil {
			e.end()
		}
	}
	return nil
}

// of returns the addresses of an app.
func (h *Hooks) of(id string) []*endpoint { return (*h.endpoints.Load())[id] }

// Wants reports whether any address of an app needs events of that name. An event of a pair (channel_occupied
// and channel_vacated, member_added and member_removed) is needed if either is wanted.
func (h *Hooks) Wants(a *app.App, name string) bool {
	for _, e := range h.of(a.ID) {
		if e.needs(name, "") {
			return true
		}
	}
	return false
}

// Emit queues an event for the addresses of an app that need it. It does not block.
func (h *Hooks) Emit(a *app.App, ev Event) {
	var task broker.Task
	for _, e := range h.of(a.ID) {
		if !e.needs(ev.Name, ev.Channel) {
			continue
		}
		if task.Body == nil {
			if t := h.opt.Tracer; t != nil {
				span := t.Begin(ev.Name, "sluice.app", a.ID, "sluice.channel", ev.Channel)
				ev.Trace = span.Place()
				defer span.End(0, 0, nil)
			}
			var err error
			if task.Body, err = encode(&ev); err != nil {
				h.opt.Logger.Error("a webhook cannot be written", "app", a.ID, "error", err)
				return
			}
			task.ID = idOf(&ev)
		}
		if reason := e.out.add(task, time.Now()); reason != "" {
			e.dropped(reason, 1)
		} else if e.hook().Wants(ev.Name, ev.Channel) {
			h.metrics.emitted.WithLabelValues(a.ID, h.opt.Port).Inc()
		}
	}
}

// Settled returns the time before which all emitted events are stored or dropped. Events for a queue that has
// been full for more than a minute do not count, and are lost if this gateway dies: otherwise, after the death
// of a gateway, everything since would be reported again to all addresses of all apps, long after the ids were
// forgotten. For the same reason an event only holds up later ones: with a steady flow of events, some are
// always waiting.
func (h *Hooks) Settled() time.Time {
	now := time.Now()
	settled := now
	for _, all := range *h.endpoints.Load() {
		for _, e := range all {
			if t := e.out.settled(now); t.Before(settled) {
				settled = t
			}
		}
	}
	return settled
}

// idOf returns the id under which an event is stored. An event that only one gateway reports gets a random id,
// so that storing it can be retried.
func idOf(ev *Event) string {
	switch {
	case ev.ID == "":
		return rand.Text()
	case len(ev.ID) > maxTaskID:
		sum := sha256.Sum256([]byte(ev.ID))
		return hex.EncodeToString(sum[:])
	}
	return ev.ID
}

// Close waits until all emitted events are stored and the requests in flight have ended, or ctx is done, and
// then ends everything. Other gateways deliver what is stored.
func (h *Hooks) Close(ctx context.Context) {
	h.once.Do(func() {
		defer context.AfterFunc(ctx, h.cancel)()
		h.changing.Lock()
		h.closed = true
		h.changing.Unlock()
		for _, all := range *h.endpoints.Load() {
			for _, e := range all {
				e.out.close()
			}
		}
		h.storing.Wait()
		h.stop()
		h.running.Wait()
		h.cancel()
		if h.own != nil {
			h.own.CloseIdleConnections()
		}
	})
}
