package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Orders are what all gateways must do. They are events in a log of the gateways, in the
// channel with the id of the app: nobody else may write there, and an order reaches every
// gateway once and in order, or is repaired.

// order is the data of an event there.
type order struct {
	Terminate string `json:"terminate"`
}

// orders listens to the orders of an app.
type orders struct {
	hub *Hub
	app *app.App
}

// Publication implements [broker.Sink].
func (o orders) Publication(p *broker.Publication) { o.obey(p, time.Time{}) }

// obey does what an order says, to connections that signed in up to a time, zero for all.
func (o orders) obey(p *broker.Publication, until time.Time) {
	var what order
	if p.Skipped != "" || p.Origin != broker.OriginHTTP || json.Unmarshal(p.Data, &what) != nil || what.Terminate == "" {
		return
	}
	o.hub.mu.Lock()
	var ends []*Client
	for c, since := range o.hub.users[userKey{o.app.ID, what.Terminate}] {
		if until.IsZero() || !since.After(until) {
			ends = append(ends, c)
		}
	}
	o.hub.mu.Unlock()
	for _, c := range ends {
		c.endSaying(pusher.CloseNotAuthorized, reasonTerminated)
	}
}

// Gap implements [broker.Sink].
func (o orders) Gap(g broker.Gap) {
	o.hub.opt.Logger.Warn("orders to all gateways may have been missed", "app", o.app.ID, "reason", string(g.Reason))
}

// Terminate closes all connections that are signed in as a user, on all gateways. It
// returns when the order is stored.
func (h *Hub) Terminate(ctx context.Context, a *app.App, user string) error {
	if !a.UserAuth {
		return nil
	}
	if h.opt.Publisher == nil {
		return errors.New("hub: there is nobody to give orders to")
	}
	data, err := json.Marshal(order{Terminate: user})
	if err != nil {
		return err
	}
	_, err = h.opt.Publisher.Publish(ctx, broker.GatewaysApp, broker.Outgoing{Channel: a.ID, Event: &broker.Event{
		Name: "sluice_internal:order", Data: data, Origin: broker.OriginHTTP, Node: h.opt.Node,
	}})
	return err
}

// followRetry is the pause after a failure to follow what concerns an app.
const followRetry = time.Second

// follow begins to listen to orders and to count the connections of apps with a limit. What
// fails for one app is a problem and is tried again; the others do not wait for it.
func (h *Hub) follow() {
	began := h.opt.LogTime()
	var trying sync.WaitGroup
	for _, id := range h.opt.Apps.IDs() {
		a := h.opt.Apps.ByID(id)
		if !a.Enabled {
			continue
		}
		if a.UserAuth {
			trying.Go(func() {
				h.insist("orders for the app "+id, func(ctx context.Context) error { return h.followOrders(ctx, a, began) })
			})
		}
		if a.Limits.MaxConnections > 0 && h.opt.Roster != nil {
			trying.Go(func() {
				h.insist("connections of the app "+id, func(ctx context.Context) error { return h.followTotal(ctx, a) })
			})
		}
	}
	trying.Wait()
}

// insist does something, and goes on trying in the background if that fails.
func (h *Hub) insist(what string, do func(ctx context.Context) error) {
	try := func() bool {
		ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
		defer cancel()
		err := do(ctx)
		if h.ctx.Err() != nil {
			return true
		}
		if err == nil {
			h.lacks.Note(what, "")
			return true
		}
		if h.lacks.Note(what, fmt.Sprintf("%s are not followed: %v", what, err)) {
			h.opt.Logger.Error("a part of an app does not work; it is tried again", "what", what, "error", err)
		}
		return false
	}
	if try() {
		return
	}
	h.background(func() {
		for h.pause(followRetry) && !try() {
		}
	})
}

// followOrders listens to the orders of an app, and catches up with those that were given
// since this gateway began.
func (h *Hub) followOrders(ctx context.Context, a *app.App, began time.Time) error {
	o := orders{h, a}
	at, err := h.opt.Feed.Attach(ctx, broker.GatewaysApp, a.ID, o)
	if err != nil {
		return err
	}
	if h.opt.History != nil {
		page, err := h.opt.History.Read(ctx, broker.GatewaysApp, a.ID, broker.Query{NewestFirst: true, Since: began, Limit: 1000})
		if err != nil {
			at.Detach()
			return err
		}
		for _, p := range page.Publications {
			o.obey(p, p.Time)
		}
	}
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.orders = append(h.orders, at)
	}
	h.mu.Unlock()
	if closed {
		at.Detach()
	}
	return nil
}

// followTotal counts the connections of an app on all gateways.
func (h *Hub) followTotal(ctx context.Context, a *app.App) error {
	room, err := h.opt.Roster.Open(ctx, a.ID, "", nil)
	if err != nil {
		return err
	}
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.totals[a] = room
	}
	h.mu.Unlock()
	if closed {
		room.Close()
	}
	return nil
}

func (h *Hub) unfollow() {
	h.mu.Lock()
	all := h.orders
	rooms := []*presence.Room{}
	for _, room := range h.totals {
		rooms = append(rooms, room)
	}
	h.mu.Unlock()
	for _, at := range all {
		at.Detach()
	}
	for _, room := range rooms {
		room.Close()
	}
}
