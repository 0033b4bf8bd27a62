package hub

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pace"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// clientEvent stores an event that a client sends to the other subscribers of a channel (protocol section
// 1.12). The reading goroutine waits for the log. So events of one client keep their order, and a client that
// sends faster than the log accepts is slowed down by its own connection.
func (c *Client) clientEvent(f pusher.ClientFrame) {
	kind := pusher.KindOf(f.Channel)
	limits := &c.app().Limits
	m := c.membership(f.Channel)
	switch {
	case !c.app().ClientEvents || c.hub.opt.Publisher == nil:
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "client events are not enabled for this app")
		return
	case f.Channel == "":
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorUnauthorized, "channel is missing: a client event names the channel that it is for")
		return
	case kind.Encrypted():
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "client events are not for encrypted channels: clients do not encrypt them")
		return
	case !kind.NeedsAuth():
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorUnauthorized, "client events are for private and presence channels")
		return
	case m == nil:
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorUnauthorized, "client events are for subscribers, and this connection is none of the channel")
		return
	case len(f.Event) > limits.MaxEventNameLength:
		c.limited("event_name")
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "event name has %d bytes, the limit is %d", len(f.Event), limits.MaxEventNameLength)
		return
	case len(f.Data) > limits.MaxEventPayload:
		c.limited("client_event_payload")
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "data has %d bytes, the limit is %d", len(f.Data), limits.MaxEventPayload)
		return
	case !c.mayPublish():
		c.limited("client_event_rate")
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "more than %d client events in a second; this one was dropped", c.app().ClientEventRate)
		return
	}
	data := []byte(f.Data)
	if len(data) == 0 {
		data = []byte("null")
	}
	ev := &broker.Event{
		Name: f.Event, Data: data, Origin: broker.OriginClient, Node: c.hub.opt.Node, UserID: m.member(),
	}
	if !c.echoes(f.Echo) {
		ev.ExcludeSocket = c.id
	}
	c.takeIn(&f, ev, m.channel)
}

// takeIn stores a client event, or sends it to the present subscribers if it is ephemeral. It tells the
// client if that fails.
func (c *Client) takeIn(f *pusher.ClientFrame, ev *broker.Event, to *Channel) {
	ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.PublishTimeout)
	defer cancel()
	var receipts []broker.Receipt
	var err error
	// V1 has no extras.
	ephemeral, done := f.Ephemeral && c.dialect == pusher.V2, "stored"
	if ephemeral {
		done, err = "sent", c.cast(ctx, f, ev)
	} else {
		receipts, err = c.hub.opt.Publisher.Publish(ctx, c.tenant.ID, broker.Outgoing{Channel: f.Channel, Event: ev})
	}
	var refused *broker.Refused
	switch {
	case err == nil:
		c.hub.opt.Metrics.clientEvents.WithLabelValues(c.tenant.ID, c.hub.opt.Metrics.port).Inc()
		if !ephemeral {
			to.roll.ClientEvent(ctx, c.id, ev, receipts[0])
		}
	case errors.Is(err, broker.ErrTooLarge):
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "the event is too large for the log")
	case errors.Is(err, broker.ErrOverloaded):
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "too much is being published at the moment; try again")
	case ephemeral && (errors.Is(err, errStoresAll) || errors.As(err, &refused)):
		c.hub.failures.Warn(c.hub.opt.Logger, "ephemeral", "an ephemeral client event cannot be sent", "app", c.tenant.ID, "channel", f.Channel, "error", err)
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "ephemeral events are not offered by this server")
	default:
		c.hub.failures.Warn(c.hub.opt.Logger, "client event", "a client event could not be "+done, "app", c.tenant.ID, "channel", f.Channel, "error", err)
		c.deny(refusedClientEvent, f.Channel, pusher.ErrorClientEvent, "the event could not be %s; try again", done)
	}
}

// echoes reports whether the connection gets its own client event (protocol section 5.8). wish is
// extras.echo, nil if it is not set. V1 connections never do.
func (c *Client) echoes(wish *bool) bool {
	if c.dialect != pusher.V2 {
		return false
	}
	if wish != nil {
		return *wish
	}
	return !c.silent
}

// limited counts a request that a limit refuses.
func (c *Client) limited(limit string) { c.hub.opt.Metrics.Limited(c.tenant.ID, limit) }

// mayPublish takes a token of the connection's rate limit for client events. It reports false if there is
// none.
func (c *Client) mayPublish() bool {
	r := c.app().ClientEventRate
	if r <= 0 {
		return true
	}
	pace.Adjust(&c.events, r, r)
	return c.events.AllowN(c.hub.opt.Now(), 1)
}

// defaultPublishTimeout bounds how long a client event may wait for the log.
const defaultPublishTimeout = 10 * time.Second
