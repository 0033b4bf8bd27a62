package herald

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// Hooks accepts webhook events.
type Hooks interface {
	// Wants reports whether any address of the app needs events of that name.
	Wants(a *app.App, name string) bool
	// Emit queues an event. It does not block.
	Emit(a *app.App, e webhook.Event)
}

// Options configure a [Herald]. Apps is required.
type Options struct {
	Apps *app.Registry
	// Hooks accepts webhook events; nil for none.
	Hooks Hooks
	// Node is the name of this gateway.
	Node string
	// Now is the clock for delayed counts, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Herald tells applications of changes. [New] creates it, before the roster that calls it. Its methods are safe
// for concurrent use.
type Herald struct {
	opt  Options
	said seldom.Lines
}

// New returns a herald.
func New(opt Options) *Herald {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Herald{opt: opt}
}

// wants reports whether any address of the app needs events of that name.
func (h *Herald) wants(a *app.App, name string) bool {
	return h.opt.Hooks != nil && h.opt.Hooks.Wants(a, name)
}

func (h *Herald) emit(a *app.App, e webhook.Event) {
	if h.wants(a, e.Name) {
		h.opt.Hooks.Emit(a, e)
	}
}

// Tell emits a change in a channel that this gateway has caused, or a gateway that it declared dead. The roster
// calls it (Tell of [presence.Options]). It does not block.
func (h *Herald) Tell(appID, channel string, c presence.Change) {
	a := h.opt.Apps.ByID(appID)
	if a == nil || channel == "" || h.opt.Hooks == nil || pusher.KindOf(channel).ServerToUser() {
		return
	}
	var name string
	switch c.Kind {
	case presence.Added:
		name = webhook.MemberAdded
	case presence.Removed:
		name = webhook.MemberRemoved
	case presence.Occupied:
		name = webhook.ChannelOccupied
	case presence.Vacated:
		name = webhook.ChannelVacated
	case presence.Counted:
		// The roll of the channel emits the counts of this gateway, because it delays some.
		if !c.Buried || !a.SubscriptionCount || pusher.KindOf(channel).Presence() {
			return
		}
		name = webhook.SubscriptionCount
	}
	h.emit(a, eventOf(name, channel, c))
}

// eventOf returns the event for a change. Its id is the same on all gateways, and different for every other
// change.
func eventOf(name, channel string, c presence.Change) webhook.Event {
	id := name + "/" + channel + "/" + c.Node + "/" + c.User + "/" + strconv.FormatUint(c.Cause, 10)
	if c.Kind == presence.Counted {
		id += "/" + strconv.Itoa(c.Seat)
	}
	return webhook.Event{ID: id, Name: name, Channel: channel, UserID: c.User, Count: c.Count, Version: c.Version}
}
