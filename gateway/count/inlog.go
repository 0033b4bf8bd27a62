package count

import (
	"context"
	"sync"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// InLog returns a log that counts events for the full message interval while it stores them. Its verdict on
// each publication is then the same for all gateways, without checkpoints. apps say what is counted, and how.
func InLog(log broker.Counting, apps *app.Registry) broker.Log {
	return &inLog{Counting: log, apps: apps}
}

type inLog struct {
	broker.Counting
	apps *app.Registry
	// paths are the conflation paths that were used, by their text. There are no more than the configuration
	// has.
	paths sync.Map
}

// Publish implements [broker.Publisher].
func (l *inLog) Publish(ctx context.Context, id string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	a := l.apps.ByID(id)
	if a == nil {
		return l.Counting.Publish(ctx, id, events...)
	}
	counted := make([]broker.Outgoing, len(events))
	for i, e := range events {
		e.Count = l.count(a, e)
		counted[i] = e
	}
	return l.Counting.Publish(ctx, id, counted...)
}

// count returns how the log must count an event: as a [Counter] does, if the event takes part.
func (l *inLog) count(a *app.App, e broker.Outgoing) broker.Count {
	d := a.ChannelDelta(e.Channel)
	if !d.Enabled || pusher.KindOf(e.Channel).Encrypted() {
		return broker.Count{}
	}
	c := broker.Count{Interval: max(d.Interval, 1), MaxValues: max(d.MaxKeys, 1)}
	shape := delta.ShapeOf(e.Event.Data)
	if path, ok := l.path(d.Path); ok {
		c.Value = Value(e.Event, shape, path)
	}
	if PartOf(e.Event, e.Channel, c.Value, shape, &d) != Tracked {
		return broker.Count{}
	}
	return c
}

func (l *inLog) path(text string) (delta.Path, bool) {
	if text == "" {
		return delta.Path{}, false
	}
	if known, ok := l.paths.Load(text); ok {
		return known.(delta.Path), true
	}
	path, err := delta.ParsePath(text)
	if err != nil {
		return delta.Path{}, false
	}
	l.paths.Store(text, path)
	return path, true
}

// maxValue is the largest conflation value in bytes. Longer ones count as none.
const maxValue = 256

// Value returns the conflation value of an event in a channel with a conflation path, empty if it has none.
// shape is the shape of its data.
func Value(ev *broker.Event, shape delta.Shape, path delta.Path) string {
	if ev.HasKey {
		if len(ev.ConflationKey) > maxValue || !utf8.ValidString(ev.ConflationKey) {
			return ""
		}
		return ev.ConflationKey
	}
	if shape != delta.Structure {
		return ""
	}
	return path.Lookup(ev.Data)
}
