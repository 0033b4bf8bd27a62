package hub

import (
	"context"
	"strconv"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// Hooks is told what applications want to know of.
type Hooks interface {
	// Wants says whether somebody wants events of that name at all.
	Wants(a *app.App, name string) bool
	// Emit passes an event on. It does not block.
	Emit(a *app.App, e webhook.Event)
}

func (h *Hub) wants(a *app.App, name string) bool {
	return h.opt.Hooks != nil && h.opt.Hooks.Wants(a, name)
}

func (h *Hub) hook(a *app.App, e webhook.Event) {
	if h.wants(a, e.Name) {
		h.opt.Hooks.Emit(a, e)
	}
}

// Tell passes on what changed in a channel by this gateway, or by one that it buried.
// It is what the [presence.Roster] of the hub tells to.
func (h *Hub) Tell(appID, channel string, c presence.Change) {
	a := h.opt.Apps.ByID(appID)
	if a == nil || channel == "" || h.opt.Hooks == nil || pusher.KindOf(channel).ServerToUser() {
		return
	}
	e := webhook.Event{Channel: channel, UserID: c.User, Count: c.Count, Version: c.Version}
	switch c.Kind {
	case presence.Added:
		e.Name = webhook.MemberAdded
	case presence.Removed:
		e.Name = webhook.MemberRemoved
	case presence.Occupied:
		e.Name = webhook.ChannelOccupied
	case presence.Vacated:
		e.Name = webhook.ChannelVacated
	case presence.Counted:
		// One's own are told by the channel, which keeps numbers back.
		if !c.Buried || !a.SubscriptionCount || pusher.KindOf(channel).Presence() {
			return
		}
		e.Name = webhook.SubscriptionCount
	}
	e.ID = e.Name + "/" + channel + "/" + c.Node + "/" + c.User + "/" + strconv.FormatUint(c.Cause, 10)
	h.hook(a, e)
}

// missed tells once, over all gateways, that a cache channel is empty. last is the
// offset of what it remembered last. It must not block.
func (c *Channel) missed(last uint64) {
	if !c.hub.wants(c.app, webhook.CacheMiss) || c.hub.opt.Roster == nil || c.roll.missed.Swap(last+1) == last+1 {
		return
	}
	h := c.hub
	h.background(func() {
		ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
		defer cancel()
		c.log.Lock()
		period := c.log.epoch + "/" + strconv.FormatUint(last, 10)
		c.log.Unlock()
		first, err := h.opt.Roster.Claim(ctx, c.app.ID, c.name, webhook.CacheMiss, period)
		switch {
		case err == nil:
		case first:
			// Perhaps it is ours. Ids make it harmless to tell twice; nobody would otherwise.
			h.opt.Logger.Warn("a cache miss is told without knowing whether another gateway does", "app", c.app.ID, "channel", c.name, "error", err)
		default:
			h.opt.Logger.Warn("a cache miss could not be told; the next one is", "app", c.app.ID, "channel", c.name, "error", err)
			c.roll.missed.CompareAndSwap(last+1, 0)
		}
		if first {
			h.hook(c.app, webhook.Event{ID: webhook.CacheMiss + "/" + c.name + "/" + period, Name: webhook.CacheMiss, Channel: c.name})
		}
	})
}

func (c *Client) hookClientEvent(channel string, ev *broker.Event, at broker.Receipt) {
	c.hub.hook(c.app, webhook.Event{
		ID:   webhook.ClientEvent + "/" + channel + "/" + at.Epoch + "/" + strconv.FormatUint(at.Offset, 10),
		Name: webhook.ClientEvent, Channel: channel, Event: ev.Name, Data: string(ev.Data), SocketID: c.id, UserID: ev.UserID,
	})
}
