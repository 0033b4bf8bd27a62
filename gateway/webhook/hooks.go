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
	// Client sends the requests; nil for one of its own. Redirects are not followed
	// whatever it says.
	Client *http.Client
	// Tracer records each request, and lets its receiver go on with the trace; nil for nobody.
	Tracer trace.Tracer
	// Dial wraps how the client of its own opens connections; nil leaves that as it is.
	Dial func(dial Dialer) Dialer
	// Grace is how long a vacated channel and a member that left are withheld,
	// default 3 s. Timeout bounds one request, default 10 s. RetryFor is how long
	// it is repeated, default 5 min, with pauses from FirstRetry, default 250 ms,
	// to MaxRetry, default 30 s.
	Grace, Timeout, RetryFor, FirstRetry, MaxRetry time.Duration
	// Now is the clock for time_ms, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Dialer opens a connection, as [net.Dialer.DialContext] does.
type Dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// maxTaskID is the longest id of a task.
const maxTaskID = 256

// Hooks takes events and delivers them. Make it with [New].
type Hooks struct {
	opt     Options
	client  *http.Client
	own     *http.Transport // nil if the client was given
	metrics metrics
	// endpoints are by app, and replaced when they change, which changing orders.
	endpoints atomic.Pointer[map[string][]*endpoint]
	changing  sync.Mutex
	closed    bool

	// quit says that no more requests are begun, ctx that those under way end.
	quit, ctx        context.Context
	stop, cancel     context.CancelFunc
	storing, running sync.WaitGroup
	once             sync.Once
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

// Apply takes over what the registry says of addresses now. What waits for one that is not there
// any more is stored, for gateways that still deliver to it. An error changes nothing.
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

// of are the addresses of an app.
func (h *Hooks) of(id string) []*endpoint { return (*h.endpoints.Load())[id] }

// Wants says whether events of that name are of use to any address of an app. One of
// channel_occupied and channel_vacated, and of member_added and member_removed, is so
// if the other is wanted.
func (h *Hooks) Wants(a *app.App, name string) bool {
	for _, e := range h.of(a.ID) {
		if e.needs(name, "") {
			return true
		}
	}
	return false
}

// Emit passes an event on to the addresses of an app that want it. It does not block.
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

// Settled is the time before which everything that was emitted is stored, or dropped. What waits for a queue that has
// been full for more than a minute does not count: whoever died meanwhile would have everything told again that happened
// since, to all addresses of all apps, long after those forgot the ids of it. For that one address it is lost then.
// For the same reason what waits holds up only what was emitted later: where events never stop there is always some.
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

// idOf is the id under which an event is stored. One that nobody else tells of has a
// random one, so that storing it can be tried again.
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

// Close waits until what was emitted is stored and the requests under way have ended,
// or ctx is done, and ends everything. What is stored another gateway delivers.
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
