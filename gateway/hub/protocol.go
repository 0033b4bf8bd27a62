package hub

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// handle acts on one message of the client.
func (c *Client) handle(message []byte) {
	f, err := pusher.ParseClientFrame(message)
	if err != nil && (f.Event == "pusher:subscribe" || f.Event == "sockudo:subscribe" && c.dialect == pusher.V2) {
		c.malformed(f.Channel, err)
		return
	}
	if err != nil {
		c.deny(refusedMalformed, "", pusher.NoCode, "%v", err)
		return
	}
	name, isProtocol := strings.CutPrefix(f.Event, "pusher:")
	if !isProtocol && c.dialect == pusher.V2 {
		name, isProtocol = strings.CutPrefix(f.Event, "sockudo:")
	}
	if !isProtocol {
		if strings.HasPrefix(f.Event, "client-") {
			c.clientEvent(f)
		} else {
			c.unknown(f.Event)
		}
		return
	}
	switch name {
	case "ping":
		c.control(pusher.Control{Event: "pong", Object: []byte("{}")})
	case "pong":
	case "subscribe":
		c.paceRequest(len(message))
		c.subscribe(f)
	case "unsubscribe":
		c.paceRequest(len(message))
		c.unsubscribe(f.Data)
	case "enable_delta_compression":
		c.enableDelta(f.Data)
	case "delta_sync_error":
		c.resync(f.Data)
	case "signin":
		c.paceRequest(len(message))
		c.signIn(f.Data)
	case "resume":
		c.deny(refusedRecovery, "", pusher.ErrorNoRecovery, "connection recovery is not enabled")
	default:
		c.unknown(f.Event)
	}
}

// subscriptionError tells who waits for a subscription that it is not granted.
func (c *Client) subscriptionError(channel, kind string, status int, reason string) {
	data := append([]byte(`{"type":"`), kind...)
	data = append(data, `","error":`...)
	data = pusher.AppendString(data, reason)
	data = append(data, `,"status":`...)
	data = append(strconv.AppendInt(data, int64(status), 10), '}')
	c.control(pusher.Control{Event: "subscription_error", Channel: channel, Text: string(data)})
}

// malformed answers a subscription that cannot be read, on its channel if it says which
// that is.
func (c *Client) malformed(channel string, err error) {
	if channel == "" {
		c.deny(refusedMalformed, "", pusher.NoCode, "subscribe: %v", err)
		return
	}
	c.refuse(channel, pusher.NoCode, "InvalidRequest", 400, "subscribe: "+err.Error())
}

func (c *Client) subscribe(f pusher.ClientFrame) {
	s, err := pusher.ParseSubscribe(f.Data)
	if err != nil {
		c.malformed(cmp.Or(s.Channel, f.Channel), err)
		return
	}
	if err := pusher.CheckChannel(s.Channel, c.app.Limits.MaxChannelLength); err != nil {
		if len(s.Channel) > c.app.Limits.MaxChannelLength {
			c.limited("channel_name")
		}
		c.refuse(s.Channel, pusher.NoCode, "InvalidChannel", 400, err.Error())
		return
	}
	filter, ok := c.takeFilter(&s)
	if !ok {
		return
	}
	// Who subscribes has taken it over by then.
	defer func() { c.hub.filters.drop(filter) }()
	kind := pusher.KindOf(s.Channel)
	if !c.permitted(&s, kind) {
		return
	}
	var member pusher.Member
	if kind.Presence() {
		var ok bool
		if member, ok = c.memberOf(&s); !ok {
			return
		}
	}
	m := c.membership(s.Channel)
	if m == nil {
		if m = c.attach(s.Channel, kind, member); m == nil {
			return
		}
	}
	if kind.NeedsAuth() {
		c.authorized.Store(true)
	}
	m.delta = s.Delta
	m.resyncs = resyncs{}
	// The old filter is in use until the new one is in its place.
	c.filters.swap(filter, m.filter)
	m.filter, filter = filter, m.filter
	form := c.form(m)
	c.welcome(m, kind, form)
	c.boundBases()
	if form&formDelta != 0 && s.Delta.Set {
		c.confirmDelta(s.Channel, form)
	}
	if s.Rewind != "" {
		c.deny(refusedRecovery, s.Channel, pusher.ErrorNoRecovery, "rewind is not offered: the subscription of %.200s begins with what is published from now on", s.Channel)
	}
}

// takeFilter takes the filter of a subscription from the pool, nil for none. It answers
// what is wrong by itself.
func (c *Client) takeFilter(s *pusher.Subscribe) (*pusher.Filter, bool) {
	filter, err := c.hub.filters.take(s.Filter)
	if !c.hub.opt.Filters {
		c.hub.filters.drop(filter)
		filter = nil
	}
	if err == nil && filter != nil {
		var before *pusher.Filter
		if m := c.membership(s.Channel); m != nil {
			before = m.filter
		}
		if err = c.filters.fits(filter, before, c.hub.opt.MaxFilterBytes); err != nil {
			c.limited("filter_bytes")
			c.hub.filters.drop(filter)
		}
	}
	if err != nil {
		c.refuse(s.Channel, pusher.NoCode, "FilterError", 400, err.Error())
		return nil, false
	}
	return filter, true
}

func (c *Client) attachFailed(channel string, err error) {
	status, reason := 503, "the log of this channel cannot be reached; try again"
	if errors.Is(err, broker.ErrUnknownApp) {
		status, reason = 404, "the log does not know this app"
	}
	if errors.Is(err, errScarce) {
		c.limited("memory")
		c.refuse(channel, pusher.ErrorOverCapacity, "LimitReached", 503, "this server has no memory for further channels; try again")
		return
	}
	if errors.Is(err, errBusy) {
		c.limited("attaching")
		c.refuse(channel, pusher.ErrorOverCapacity, "LimitReached", 503, "this server is busy with other subscriptions; try again")
		return
	}
	c.hub.failures.Warn(c.hub.opt.Logger, "attaching", "attaching a channel failed", "app", c.app.ID, "channel", channel, "error", err)
	c.refuse(channel, pusher.NoCode, "ServiceUnavailable", status, reason)
}

func (c *Client) membership(channel string) *membership {
	for i := range c.joined {
		if c.joined[i].channel.name == channel {
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
	m := c.membership(channel)
	if m == nil {
		return
	}
	c.drop(m)
	last := len(c.joined) - 1
	*m = c.joined[last]
	c.joined[last] = membership{}
	c.joined = c.joined[:last]
}
