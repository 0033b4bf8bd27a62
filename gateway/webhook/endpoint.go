package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"net/url"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
)

const (
	// lanes is the number of requests that may be under way to one address at a
	// time. A channel has one lane, which keeps its order.
	lanes = 8
	// pending is the number of events in memory for one address.
	pending = 4096
	// laneQueue bounds those that wait for a lane; it is never full before pending
	// is reached.
	laneQueue = pending
)

// endpoint is one address of one app.
type endpoint struct {
	hooks *Hooks
	app   *app.App
	hook  *app.Webhook
	queue string
	// shown is the address without what may be secret in it.
	shown string
}

func newEndpoint(h *Hooks, a *app.App, w *app.Webhook) *endpoint {
	sum := sha256.Sum256([]byte(w.URL))
	e := &endpoint{hooks: h, app: a, hook: w, queue: a.ID + "/" + hex.EncodeToString(sum[:8]), shown: "invalid"}
	if u, err := url.Parse(w.URL); err == nil {
		u.RawQuery, u.User = "", nil
		e.shown = u.String()
	}
	return e
}

// record is an event as it lies in the queue.
type record struct {
	Name    string `json:"n"`
	Channel string `json:"c"`
	User    string `json:"u,omitempty"`
	Event   string `json:"e,omitempty"`
	Data    string `json:"d,omitempty"`
	Socket  string `json:"s,omitempty"`
	Count   int    `json:"k,omitempty"`
}

func encode(e *Event) ([]byte, error) {
	return json.Marshal(record{e.Name, e.Channel, e.UserID, e.Event, e.Data, e.SocketID, e.Count})
}

func decode(b []byte) (Event, error) {
	var r record
	err := json.Unmarshal(b, &r)
	return Event{Name: r.Name, Channel: r.Channel, UserID: r.User, Event: r.Event, Data: r.Data, SocketID: r.Socket, Count: r.Count}, err
}

// delivery is a task on its way.
type delivery struct {
	event Event
	taken broker.Taken
}

// run delivers what is in the queue whenever it is this gateway's turn.
func (e *endpoint) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := e.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		e.hooks.opt.Logger.Debug("delivering webhooks was interrupted", "app", e.app.ID, "url", e.shown, "error", err)
		select {
		case <-time.After(e.hooks.opt.FirstRetry):
		case <-ctx.Done():
		}
	}
}

// serve delivers until ctx is done or it is another gateway's turn.
func (e *endpoint) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	n := lanes
	if e.hook.Batch {
		n = 1
	}
	queues := make([]chan []delivery, n)
	for i := range queues {
		queues[i] = make(chan []delivery, laneQueue)
		running.Go(func() { e.lane(ctx, queues[i]) })
	}
	in := make(chan delivery, pending)
	running.Go(func() { e.sort(ctx, in, queues) })
	return e.hooks.opt.Work.Take(ctx, e.queue, pending, func(t broker.Taken) {
		ev, err := decode(t.Body)
		if err != nil {
			e.hooks.opt.Logger.Error("a webhook in the queue cannot be read", "app", e.app.ID, "error", err)
		}
		select {
		case in <- delivery{ev, t}:
		case <-ctx.Done():
		}
	})
}

// sort withholds events for their grace and puts the others into lanes.
func (e *endpoint) sort(ctx context.Context, in <-chan delivery, queues []chan []delivery) {
	g := grace[delivery]{wait: e.hooks.opt.Grace}
	put := func(d delivery) {
		h := fnv.New32a()
		_, _ = h.Write([]byte(d.event.Channel))
		select {
		case queues[int(h.Sum32())%len(queues)] <- []delivery{d}:
		case <-ctx.Done():
		}
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait, waits := g.next(time.Now())
		if !waits {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case d := <-in:
			if d.event.Name == "" {
				e.done(ctx, d)
				continue
			}
			now, settled := g.take(d.event, d.taken.Stored, time.Now(), d)
			for _, s := range settled {
				e.hooks.metrics.withheld.WithLabelValues(e.app.ID, e.hooks.opt.Port).Inc()
				e.done(ctx, s)
			}
			if now {
				put(d)
			}
		}
		for _, h := range g.due(time.Now()) {
			put(h.item)
		}
	}
}

// lane sends one request after the other.
func (e *endpoint) lane(ctx context.Context, queue <-chan []delivery) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-queue:
			part := first
			if e.hook.Batch {
				part = e.gather(ctx, part, queue)
			}
			events := make([]Event, len(part))
			for i := range part {
				events[i] = part[i].event
			}
			if !e.send(ctx, events) {
				return
			}
			for _, d := range part {
				e.done(ctx, d)
			}
		}
	}
}

// gather waits for what else comes within the time of a batch.
func (e *endpoint) gather(ctx context.Context, part []delivery, queue <-chan []delivery) []delivery {
	timer := time.NewTimer(e.hook.BatchTime)
	defer timer.Stop()
	for len(part) < e.hook.BatchSize {
		select {
		case more := <-queue:
			part = append(part, more...)
		case <-timer.C:
			return part
		case <-ctx.Done():
			return part
		}
	}
	return part
}

// done takes an event out of the queue. If that fails it is sent again, which a
// receiver must bear.
func (e *endpoint) done(ctx context.Context, d delivery) {
	if err := d.taken.Done(ctx); err != nil && ctx.Err() == nil {
		e.hooks.opt.Logger.Warn("a delivered webhook could not be taken out of the queue; it may be sent again", "app", e.app.ID, "error", err)
	}
}
