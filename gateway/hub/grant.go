package hub

import (
	"strconv"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// permitted tells whether a connection may subscribe to a channel. It answers what is
// wrong by itself, as all of these do.
func (c *Client) permitted(s *pusher.Subscribe, kind pusher.Kind) bool {
	switch {
	case kind.Presence() && c.hub.opt.Roster == nil:
		c.refuse(s.Channel, pusher.ErrorUnauthorized, "NotSupported", 501, "this server has nowhere to keep members")
		return false
	case kind.ServerToUser() && (c.user == "" || s.Channel != pusher.UserChannel(c.user)):
		c.refuse(s.Channel, pusher.ErrorUnauthorized, "AuthError", 401, "this connection is not signed in as that user")
		return false
	case kind.NeedsAuth():
		if err := pusher.VerifySubscription(c.app.Key, c.app.Secret.Reveal(), c.id, s); err != nil {
			c.refuse(s.Channel, pusher.ErrorUnauthorized, "AuthError", 401, err.Error())
			return false
		}
	}
	return true
}

// attach makes a connection one of the channel's, and its user a member; nil if that
// cannot be.
func (c *Client) attach(channel string, kind pusher.Kind, member pusher.Member) *membership {
	if limit := c.hub.opt.MaxSubscriptions; len(c.joined) >= limit {
		c.limited("subscriptions")
		c.refuse(channel, pusher.ErrorOverCapacity, "LimitReached", 403,
			"this connection has reached its limit of "+strconv.Itoa(limit)+" subscriptions")
		return nil
	}
	ch, err := c.hub.acquire(c.app, channel, &c.asks)
	if err != nil {
		c.attachFailed(channel, err)
		return nil
	}
	if kind.Presence() && !c.join(ch, member) {
		c.hub.unref(ch)
		return nil
	}
	c.joined = append(c.joined, membership{channel: ch, member: member.ID})
	return &c.joined[len(c.joined)-1]
}

// welcome puts a subscription among those of its channel and tells the client of it, with
// the members as they are then.
func (c *Client) welcome(m *membership, kind pusher.Kind, form form) {
	name := m.channel.name
	for {
		text, version := "{}", uint64(0)
		if kind.Presence() {
			text, version = m.channel.hash()
		}
		isNew, stale := m.channel.shards[c.shard.id].put(c, m.channel, form, m.filter, version, func(uint64) *socket.Frame {
			f := pusher.Control{Event: "subscription_succeeded", Internal: true, Channel: name, Text: text}
			if c.dialect == pusher.V2 {
				f.MessageID = c.hub.messageID()
			}
			return controlFrame(c.dialect, 128+len(name)+len(text), &f)
		})
		if isNew {
			m.channel.roll.Count(1)
		}
		if !stale {
			return
		}
	}
}
