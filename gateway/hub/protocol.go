package hub

import (
	"errors"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// handle acts on one message of the client.
func (c *Client) handle(message []byte) {
	f, err := c.parse(message)
	// Each dialect understands the requests of both.
	name, isProtocol := strings.CutPrefix(f.Event, pusher.V1.Prefix())
	if !isProtocol {
		name, isProtocol = strings.CutPrefix(f.Event, pusher.V2.Prefix())
	}
	if err != nil && isProtocol && name == "subscribe" {
		c.malformed(f.Channel, err)
		return
	}
	if err != nil {
		c.deny(refusedMalformed, "", pusher.NoCode, "%v", err)
		return
	}
	if f.Event == "channel_history" && c.dialect == pusher.V2 {
		name, isProtocol = f.Event, true
	}
	if !isProtocol {
		if strings.HasPrefix(f.Event, "client-") {
			c.clientEvent(f)
		} else {
			c.unknown(f.Event)
		}
		return
	}
	if costly[name] && !c.paceRequest(len(message)) {
		return
	}
	switch name {
	case "ping":
		c.send(c.hub.pongs[c.dialect])
	case "pong":
	case "subscribe":
		c.subscribe(f)
	case "unsubscribe":
		c.unsubscribe(f.Data)
	case "enable_delta_compression":
		c.enableDelta(f.Data)
	case "delta_sync_error":
		c.resync(f.Data)
	case "signin":
		c.signIn(f.Data)
	case "resume":
		c.resume(f.Data)
	case "channel_history":
		c.page(f.Data)
	default:
		c.unknown(f.Event)
	}
}

// parse parses a message. Long ones take turns on half of the processors, because many at once would delay
// everything that is published meanwhile.
func (c *Client) parse(message []byte) (pusher.ClientFrame, error) {
	if len(message) > longRequest {
		c.hub.long <- struct{}{}
		defer func() { <-c.hub.long }()
	}
	return pusher.ParseClientFrame(message)
}

// subscriptionError sends subscription_error on the channel.
func (c *Client) subscriptionError(channel, kind string, status int, reason string) {
	data := append([]byte(`{"type":"`), kind...)
	data = append(data, `","error":`...)
	data = pusher.AppendString(data, reason)
	data = append(data, `,"status":`...)
	data = append(strconv.AppendInt(data, int64(status), 10), '}')
	c.control(pusher.Control{Event: "subscription_error", Channel: channel, Text: string(data)})
}

// malformed answers a subscription request that cannot be parsed, on its channel if it names one.
func (c *Client) malformed(channel string, err error) {
	if channel == "" {
		c.deny(refusedMalformed, "", pusher.NoCode, "subscribe: %v", err)
		return
	}
	c.refuse(channel, pusher.NoCode, "InvalidRequest", 400, "subscribe: "+err.Error())
}

func (c *Client) attachFailed(channel string, err error) {
	status, limit, reason := c.notAttached(channel, err)
	if limit {
		c.refuse(channel, pusher.ErrorOverCapacity, "LimitReached", status, reason)
		return
	}
	c.refuse(channel, pusher.NoCode, "ServiceUnavailable", status, reason)
}

// notAttached returns why a channel could not be attached, and counts a limit that was exceeded. After an
// error that soon passes, it has the connection end so that the client subscribes again. It does not do that
// if memory is scarce, because the client would then lose its other channels.
func (c *Client) notAttached(channel string, err error) (status int, limit bool, reason string) {
	switch {
	case errors.Is(err, errScarce):
		c.limited("memory")
		return 503, true, "this server has no memory for further channels; try again"
	case errors.Is(err, errBusy):
		c.limited("attaching")
		c.again.Soon(c.hub.opt.Now(), channel)
		return 503, true, "this server is busy with other subscriptions; try again"
	}
	c.hub.failures.Warn(c.hub.opt.Logger, "attaching", "attaching a channel failed", "app", c.tenant.ID, "channel", channel, "error", err)
	if errors.Is(err, broker.ErrUnknownApp) {
		return 404, false, "the log does not know this app"
	}
	c.again.Soon(c.hub.opt.Now(), channel)
	return 503, false, "the log of this channel cannot be reached; try again"
}

func (c *Client) membership(channel string) *membership {
	for i := range c.joined {
		if c.joined[i].channel.Name == channel {
			return &c.joined[i]
		}
	}
	return nil
}

func (c *Client) unsubscribe(data string) {
	channel, err := pusher.ParseUnsubscribe(data)
	if err != nil {
		c.deny(refusedUnsubscribe, "", pusher.NoCode, "unsubscribe: %v", err)
		return
	}
	if m := c.membership(channel); m != nil {
		c.part(m)
	}
}

// part ends a subscription of a connection that continues.
func (c *Client) part(m *membership) {
	c.drop(m)
	last := len(c.joined) - 1
	*m = c.joined[last]
	c.joined[last] = membership{}
	c.joined = c.joined[:last]
}
