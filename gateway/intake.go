package gateway

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
)

// intake bounds the events that are being published, whatever publishes them. While the log does not answer,
// accepted events wait for it, and their number would grow without a bound. Events beyond the bounds are
// refused at once, which tells publishers to slow down. Events that wait already stay.
//
// Half of each bound is divided among the apps. The other half is shared by apps that need more. So an app
// whose stream does not answer cannot take the parts of other apps.
type intake struct {
	broker.Log
	apps                func() int
	maxEvents, maxBytes int64
	limited             func(app, limit string)

	mu            sync.Mutex
	events, bytes int64
	// byApp is the load of each app, and beyond is the total by which apps exceed their own parts.
	byApp  map[string]load
	beyond load
	// among is the number of apps for which beyond was computed.
	among int64
}

// load is a number of events and their bytes.
type load struct{ events, bytes int64 }

// eventRoom is roughly what an event takes in addition to its content, in bytes.
const eventRoom = 512

// due returns the part of each app.
func (in *intake) due() load {
	n := 2 * in.among
	return load{in.maxEvents / n, in.maxBytes / n}
}

// recount computes beyond again if the number of apps has changed. The caller holds mu.
func (in *intake) recount() {
	n := int64(max(in.apps(), 1))
	if n == in.among {
		return
	}
	in.among, in.beyond = n, load{}
	for _, l := range in.byApp {
		e := in.excess(l)
		in.beyond.events += e.events
		in.beyond.bytes += e.bytes
	}
}

// excess returns by how much a load exceeds the part of an app.
func (in *intake) excess(l load) load {
	due := in.due()
	return load{max(l.events-due.events, 0), max(l.bytes-due.bytes, 0)}
}

// enter counts the load that an app wants to add, and reports false if it is refused.
func (in *intake) enter(app string, more load) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.recount()
	have, due := in.byApp[app], in.due()
	want := load{have.events + more.events, have.bytes + more.bytes}
	was, is := in.excess(have), in.excess(want)
	shared := load{in.maxEvents - due.events*in.among, in.maxBytes - due.bytes*in.among}
	if have.events > 0 && (is.events > was.events && in.beyond.events-was.events+is.events > shared.events ||
		is.bytes > was.bytes && in.beyond.bytes-was.bytes+is.bytes > shared.bytes) {
		return false
	}
	in.count(app, have, want)
	return true
}

// leave subtracts a load.
func (in *intake) leave(app string, less load) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.recount()
	have := in.byApp[app]
	in.count(app, have, load{have.events - less.events, have.bytes - less.bytes})
}

// count replaces the load of an app. The caller holds mu.
func (in *intake) count(app string, was, is load) {
	before, after := in.excess(was), in.excess(is)
	in.beyond.events += after.events - before.events
	in.beyond.bytes += after.bytes - before.bytes
	in.events += is.events - was.events
	in.bytes += is.bytes - was.bytes
	if in.byApp == nil {
		in.byApp = map[string]load{}
	}
	if in.byApp[app] = is; is.events == 0 {
		delete(in.byApp, app)
	}
}

// Publish implements [broker.Publisher]. It returns [broker.ErrOverloaded] if too much is in flight. A
// publish that exceeds a bound by itself is admitted if its app has nothing else in flight.
func (in *intake) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	leave, err := in.admit(app, events)
	if err != nil {
		return nil, err
	}
	defer leave()
	return in.Log.Publish(ctx, app, events...)
}

// Cast implements [broker.Caster], within the same bounds.
func (in *intake) Cast(ctx context.Context, app string, events ...broker.Outgoing) error {
	leave, err := in.admit(app, events)
	if err != nil {
		return err
	}
	defer leave()
	return in.Log.Cast(ctx, app, events...)
}

// admit counts events until leave is called, or refuses them.
func (in *intake) admit(app string, events []broker.Outgoing) (leave func(), err error) {
	more := load{events: int64(len(events))}
	for _, e := range events {
		more.bytes += int64(e.Event.Bytes()) + eventRoom
	}
	if !in.enter(app, more) {
		in.limited(app, "publishing")
		return nil, fmt.Errorf("%w: the limits are %d events (publishing.max_events) and %d bytes (publishing.max_bytes)",
			broker.ErrOverloaded, in.maxEvents, in.maxBytes)
	}
	return func() { in.leave(app, more) }, nil
}

// register registers gauges for the events in flight.
func (in *intake) register(registry prometheus.Registerer, prefix string, at prometheus.Labels) {
	gauge := func(name, help string, value *int64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help, ConstLabels: at}, func() float64 {
			in.mu.Lock()
			defer in.mu.Unlock()
			return float64(*value)
		}))
	}
	gauge("publishing_events", "Events that wait for the acknowledgement of the log.", &in.events)
	gauge("publishing_bytes", "Bytes of events that wait for the acknowledgement of the log.", &in.bytes)
}
