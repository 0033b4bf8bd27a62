package hub

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

var _ broker.Listener = (*Channel)(nil)

// Heard implements [broker.Listener]: an ephemeral event goes to the present subscribers and is kept nowhere.
func (c *Channel) Heard(e *broker.Publication) {
	p := c.NewEvent(e)
	c.exclude(p)
	c.hub.opt.Metrics.ephemeral.WithLabelValues(c.tenant.ID, c.hub.opt.Metrics.port).Inc()
	c.Cast(p)
}

// errStoresAll: the publisher of client events can only store events, and is not a [broker.Caster].
var errStoresAll = errors.New("hub: ephemeral events are not offered")

// cast sends an ephemeral client event to the present subscribers.
func (c *Client) cast(ctx context.Context, f *pusher.ClientFrame, ev *broker.Event) error {
	caster, ok := c.hub.opt.Publisher.(broker.Caster)
	if !ok {
		return errStoresAll
	}
	ev.MessageID = c.hub.hall.MessageID()
	return caster.Cast(ctx, c.tenant.ID, broker.Outgoing{Channel: f.Channel, Event: ev})
}
