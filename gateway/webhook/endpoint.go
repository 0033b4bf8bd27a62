package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/app"
)

// endpoint is one address of one app.
type endpoint struct {
	hooks *Hooks
	app   *app.App // at the time when the endpoint was created
	queue string
	// present is the current configuration of the address. batches says whether events are sent together;
	// regroup restarts the delivery after that has changed.
	present atomic.Pointer[app.Webhook]
	batches atomic.Bool
	regroup chan struct{}
	// When quit is done, no more requests are begun. When ctx is done, those in flight end.
	quit, ctx    context.Context
	stop, cancel context.CancelFunc
	// stored is closed when all emitted events are stored or dropped.
	stored chan struct{}
	// shown is the address without parts that may be secret, for logs.
	shown string
	out   outbox
	said  seldom.Lines
}

func newEndpoint(h *Hooks, a *app.App, w *app.Webhook) *endpoint {
	sum := sha256.Sum256([]byte(w.URL))
	e := &endpoint{
		hooks: h, app: a, queue: a.ID + "/" + hex.EncodeToString(sum[:8]), shown: "invalid",
		out: outbox{changed: make(chan struct{}, 1)}, regroup: make(chan struct{}, 1), stored: make(chan struct{}),
	}
	e.take(w)
	if u, err := url.Parse(w.URL); err == nil {
		u.RawQuery, u.User = "", nil
		e.shown = u.String()
	}
	return e
}

// hook returns the current configuration of the address.
func (e *endpoint) hook() *app.Webhook { return e.present.Load() }

// take replaces the configuration of the address.
func (e *endpoint) take(w *app.Webhook) {
	before := e.present.Swap(w)
	if e.batches.Store(w.Batch); before == nil || before.Batch == w.Batch {
		return
	}
	select {
	case e.regroup <- struct{}{}:
	default:
	}
}

// begin starts the goroutines that store and deliver.
func (e *endpoint) begin() {
	h := e.hooks
	e.quit, e.stop = context.WithCancel(h.quit)
	e.ctx, e.cancel = context.WithCancel(h.ctx)
	h.storing.Go(func() {
		defer close(e.stored)
		e.store(e.ctx)
	})
	h.running.Go(e.run)
}

// end stops both goroutines when all emitted events are stored, or after putTimeout. It does not wait for that.
func (e *endpoint) end() {
	e.out.close()
	e.hooks.running.Go(func() {
		select {
		case <-e.stored:
		case <-time.After(putTimeout):
		case <-e.ctx.Done():
		}
		e.stop()
		e.cancel()
	})
}

// needs reports whether an event of that name must go through the queue: because the address wants it, or
// because it decides whether its opposite is sent.
func (e *endpoint) needs(name, channel string) bool {
	other := partner(name)
	return e.hook().Wants(name, channel) || other != "" && e.hook().Wants(other, channel)
}

func (e *endpoint) dropped(reason string, n int) {
	if n > 0 {
		e.hooks.metrics.dropped.WithLabelValues(e.app.ID, reason, e.hooks.opt.Port).Add(float64(n))
	}
}

// record is an event as it is stored in the queue.
type record struct {
	Name    string `json:"n"`
	Channel string `json:"c"`
	User    string `json:"u,omitempty"`
	Event   string `json:"e,omitempty"`
	Data    string `json:"d,omitempty"`
	Socket  string `json:"s,omitempty"`
	Count   int    `json:"k,omitempty"`
	Version uint64 `json:"v,omitempty"`
	Trace   string `json:"t,omitempty"`
}

func encode(e *Event) ([]byte, error) {
	return json.Marshal(record{e.Name, e.Channel, e.UserID, e.Event, e.Data, e.SocketID, e.Count, e.Version, e.Trace})
}

func decode(b []byte) (Event, error) {
	var r record
	err := json.Unmarshal(b, &r)
	return Event{Name: r.Name, Channel: r.Channel, UserID: r.User, Event: r.Event, Data: r.Data, SocketID: r.Socket, Count: r.Count, Version: r.Version, Trace: r.Trace}, err
}

// delivery is an event that was taken from the queue.
type delivery struct {
	event Event
	taken broker.Taken
}

// done removes an event from the queue. If that fails, the event may be sent again, which receivers must
// tolerate.
func (e *endpoint) done(ctx context.Context, d delivery) bool {
	err := d.taken.Done(ctx)
	if err != nil && ctx.Err() == nil {
		err = d.taken.Done(ctx)
	}
	if err != nil && ctx.Err() == nil {
		e.said.Warn(e.hooks.opt.Logger, "done", "webhooks could not be taken out of the queue; they may be sent again", "app", e.app.ID, "url", e.shown, "error", err)
	}
	return err == nil
}
