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

// Hooks takes what applications want to know of.
type Hooks interface {
	// Wants says whether somebody wants events of that name at all.
	Wants(a *app.App, name string) bool
	// Emit passes an event on. It does not block.
	Emit(a *app.App, e webhook.Event)
}

// Options configure a [Herald]. Apps is required.
type Options struct {
	Apps *app.Registry
	// Hooks is told what applications want to know of; nil for nobody.
	Hooks Hooks
	// Node is the name of this gateway.
	Node string
	// Now is the clock by which numbers are kept back, default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Herald tells applications what changes. Make it with [New], before the roster that
// tells to it. All its methods may be called by any goroutine.
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

// wants says whether somebody wants events of that name.
func (h *Herald) wants(a *app.App, name string) bool {
	return h.opt.Hooks != nil && h.opt.Hooks.Wants(a, name)
}

func (h *Herald) emit(a *app.App, e webhook.Event) {
	if h.wants(a, e.Name) {
		h.opt.Hooks.Emit(a, e)
	}
}

// Tell passes on what changed in a channel by this gateway, or by one that it buried. It
// is what a roster tells to ([presence.Options]). It does not block.
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
		// One's own are told by the roll of the channel, which keeps numbers back.
		if !c.Buried || !a.SubscriptionCount || pusher.KindOf(channel).Presence() {
			return
		}
		name = webhook.SubscriptionCount
	}
	h.emit(a, eventOf(name, channel, c))
}

// eventOf is the event that tells of a change. Its id is the same for everybody who does, and
// another one for every other change.
func eventOf(name, channel string, c presence.Change) webhook.Event {
	id := name + "/" + channel + "/" + c.Node + "/" + c.User + "/" + strconv.FormatUint(c.Cause, 10)
	if c.Kind == presence.Counted {
		id += "/" + strconv.Itoa(c.Seat)
	}
	return webhook.Event{ID: id, Name: name, Channel: channel, UserID: c.User, Count: c.Count, Version: c.Version}
}
