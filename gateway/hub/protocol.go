package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// handle acts on one message of the client.
func (c *Client) handle(message []byte) {
	f, err := pusher.ParseClientFrame(message)
	if err != nil {
		c.fail(pusher.NoCode, "%v", err)
		return
	}
	name, isProtocol := strings.CutPrefix(f.Event, "pusher:")
	if !isProtocol && c.dialect == pusher.V2 {
		name, isProtocol = strings.CutPrefix(f.Event, "sockudo:")
	}
	if !isProtocol {
		if strings.HasPrefix(f.Event, "client-") {
			c.clientEvent(f)
		}
		return
	}
	switch name {
	case "ping":
		c.control(pusher.Control{Event: "pong", Object: []byte("{}")})
	case "subscribe":
		c.subscribe(f.Data)
	case "unsubscribe":
		c.unsubscribe(f.Data)
	case "enable_delta_compression":
		c.enableDelta(f.Data)
	case "delta_sync_error":
		c.resync(f.Data)
	case "signin":
		c.signIn(f.Data)
	case "resume":
		c.fail(pusher.ErrorNoRecovery, "connection recovery is not enabled")
	}
}

// refuse answers a subscription that is not granted.
func (c *Client) refuse(channel string, code pusher.ErrorCode, kind string, status int, reason string) {
	c.fail(code, "%s", reason)
	data := append([]byte(`{"type":"`), kind...)
	data = append(data, `","error":`...)
	data = pusher.AppendString(data, reason)
	data = append(data, `,"status":`...)
	data = append(strconv.AppendInt(data, int64(status), 10), '}')
	c.control(pusher.Control{Event: "subscription_error", Channel: channel, Text: string(data)})
}

func (c *Client) subscribe(data json.RawMessage) {
	s, err := pusher.ParseSubscribe(data)
	if err != nil {
		c.fail(pusher.NoCode, "subscribe: %v", err)
		return
	}
	if err := pusher.CheckChannel(s.Channel, c.app.Limits.MaxChannelLength); err != nil {
		c.refuse(s.Channel, pusher.NoCode, "InvalidChannel", 400, err.Error())
		return
	}
	filter, err := pusher.ParseFilter(s.Filter)
	if err != nil {
		c.refuse(s.Channel, pusher.NoCode, "FilterError", 400, err.Error())
		return
	}
	if !c.hub.opt.Filters {
		filter = nil
	}
	kind := pusher.KindOf(s.Channel)
	switch {
	case kind.Presence():
		c.refuse(s.Channel, pusher.ErrorUnauthorized, "NotSupported", 501, "presence channels are not offered by this release")
		return
	case kind.ServerToUser() && (c.user == "" || s.Channel != pusher.UserChannel(c.user)):
		c.refuse(s.Channel, pusher.ErrorUnauthorized, "AuthError", 401, "this connection is not signed in as that user")
		return
	case kind.NeedsAuth():
		if err := pusher.VerifyChannel(c.app.Key, c.app.Secret.Reveal(), s.Auth, c.id, s.Channel, "", false); err != nil {
			c.refuse(s.Channel, pusher.ErrorUnauthorized, "AuthError", 401, err.Error())
			return
		}
	}
	m := c.membership(s.Channel)
	if m == nil {
		if limit := c.hub.opt.MaxSubscriptions; len(c.joined) >= limit {
			c.refuse(s.Channel, pusher.ErrorOverCapacity, "LimitReached", 403,
				"this connection has reached its limit of "+strconv.Itoa(limit)+" subscriptions")
			return
		}
		ctx, cancel := context.WithTimeout(c.hub.ctx, c.hub.opt.AttachTimeout)
		ch, err := c.hub.acquire(ctx, c.app, s.Channel)
		cancel()
		if err != nil {
			c.attachFailed(s.Channel, err)
			return
		}
		c.joined = append(c.joined, membership{channel: ch})
		m = &c.joined[len(c.joined)-1]
	}
	m.delta = s.Delta
	m.resyncs = resyncs{}
	form := c.form(m)
	m.channel.shards[c.shard.id].put(c, m.channel, form, filter, func(uint64) *Frame {
		f := pusher.Control{Event: "subscription_succeeded", Internal: true, Channel: s.Channel, Text: "{}"}
		if c.dialect == pusher.V2 {
			f.MessageID = c.hub.messageID()
		}
		return seal(pusher.AppendControl(newBuffer(128+len(s.Channel)), c.dialect, &f), opText)
	})
	c.boundBases()
	if form&formDelta != 0 && s.Delta.Set {
		c.confirmDelta(s.Channel, form)
	}
}

func (c *Client) attachFailed(channel string, err error) {
	status, reason := 503, "the log of this channel cannot be reached; try again"
	if errors.Is(err, broker.ErrUnknownApp) {
		status, reason = 404, "the log does not know this app"
	}
	c.hub.opt.Logger.Warn("attaching a channel failed", "app", c.app.ID, "channel", channel, "error", err)
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

func (c *Client) unsubscribe(data json.RawMessage) {
	channel, err := pusher.ParseUnsubscribe(data)
	if err != nil {
		c.fail(pusher.NoCode, "unsubscribe: %v", err)
		return
	}
	m := c.membership(channel)
	if m == nil {
		return
	}
	m.channel.drop(c)
	last := len(c.joined) - 1
	*m = c.joined[last]
	c.joined[last] = membership{}
	c.joined = c.joined[:last]
}
