package gateway

import (
	"context"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
)

// intake bounds what is being published at a time, whoever asks for it. While the log
// does not answer, what was accepted waits for it, and without a bound there would be
// ever more of it. What is beyond the bounds is refused at once, which tells publishers
// to slow down; nothing that waits gives way.
type intake struct {
	broker.Log
	maxEvents, maxBytes int64
	limited             func(app, limit string)

	mu            sync.Mutex
	events, bytes int64
}

// eventRoom is what an event takes beside its data, roughly.
const eventRoom = 512

// Publish implements [broker.Publisher]. It returns [broker.ErrOverloaded] if too much is
// under way. What is larger than a bound by itself is let through when nothing else is.
func (in *intake) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	n, size := int64(len(events)), int64(0)
	for _, e := range events {
		size += int64(len(e.Event.Data)) + eventRoom
	}
	in.mu.Lock()
	if in.events > 0 && (in.events+n > in.maxEvents || in.bytes+size > in.maxBytes) {
		in.mu.Unlock()
		in.limited(app, "publishing")
		return nil, fmt.Errorf("%w: the limits are %d events (publishing.max_events) and %d bytes (publishing.max_bytes)",
			broker.ErrOverloaded, in.maxEvents, in.maxBytes)
	}
	in.events += n
	in.bytes += size
	in.mu.Unlock()
	defer func() {
		in.mu.Lock()
		in.events -= n
		in.bytes -= size
		in.mu.Unlock()
	}()
	return in.Log.Publish(ctx, app, events...)
}

// register makes what is under way visible.
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
