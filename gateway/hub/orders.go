package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/duties"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// newDuties returns what the hub follows for its apps. Nothing is followed yet.
func (h *Hub) newDuties() (*duties.Duties, duties.Orders) {
	return duties.New(duties.Options{
			Context: h.ctx, Timeout: h.opt.AttachTimeout, Background: h.tasks.Go, Pause: h.tasks.Pause, Logger: h.opt.Logger,
		}), duties.Orders{
			Publisher: h.opt.Publisher, Node: h.opt.Node, Feed: h.opt.Feed, History: h.opt.History,
			Terminate: h.terminate, Logger: h.opt.Logger,
		}
}

// terminate closes the connections of a user that signed in up to a time; the zero time means all of them.
func (h *Hub) terminate(app, user string, until time.Time) {
	h.mu.Lock()
	var ends []*Client
	for c, since := range h.users[userKey{app, user}] {
		if until.IsZero() || !since.After(until) {
			ends = append(ends, c)
		}
	}
	h.mu.Unlock()
	for _, c := range ends {
		c.endSaying(pusher.CloseNotAuthorized, reasonTerminated)
	}
}

// Terminate closes all connections that are signed in as a user, on all gateways. It returns when the order
// is stored.
func (h *Hub) Terminate(ctx context.Context, a *app.App, user string) error {
	if !a.UserAuth {
		return nil
	}
	return h.orders.Give(ctx, a.ID, user)
}

// follow begins to follow the orders for apps and the numbers of connections of apps that have a limit of
// these. It ends that for apps that do not need it any more.
func (h *Hub) follow() {
	began := h.opt.LogTime()
	wanted := map[string]duties.Begin{}
	for _, id := range h.opt.Apps.IDs() {
		a := h.opt.Apps.ByID(id)
		if a == nil || !a.Enabled {
			continue
		}
		if a.UserAuth {
			wanted["orders for the app "+id] = func(ctx context.Context) (func(), error) { return h.orders.Follow(ctx, id, began) }
		}
		if a.Limits.MaxConnections > 0 && h.opt.Roster != nil {
			wanted["connections of the app "+id] = func(ctx context.Context) (func(), error) { return h.quota.Follow(ctx, id) }
		}
	}
	h.duties.Take(wanted)
}
