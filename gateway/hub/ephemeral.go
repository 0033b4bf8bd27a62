package hub

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

var _ broker.Listener = (*Channel)(nil)

// Heard implements [broker.Listener]: an ephemeral event goes to those who are there, and
// leaves no trace.
func (c *Channel) Heard(e *broker.Publication) {
	p := c.NewEvent(e)
	c.exclude(p)
	c.hub.opt.Metrics.ephemeral.WithLabelValues(c.tenant.ID, c.hub.opt.Metrics.port).Inc()
	c.Cast(p)
}

// errStoresAll: what takes client events has no other way than to store them.
var errStoresAll = errors.New("hub: ephemeral events are not offered")

// cast gives a client event that nobody shall keep to whoever is connected.
func (c *Client) cast(ctx context.Context, f *pusher.ClientFrame, ev *broker.Event) error {
	caster, ok := c.hub.opt.Publisher.(broker.Caster)
	if !ok {
		return errStoresAll
	}
	ev.MessageID = c.hub.hall.MessageID()
	return caster.Cast(ctx, c.tenant.ID, broker.Outgoing{Channel: f.Channel, Event: ev})
}
