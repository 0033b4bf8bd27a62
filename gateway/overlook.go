package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/console"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// overlook implements [console.Gateway] with what the hub and the roster of a node know.
type overlook struct{ n *Node }

var _ console.Gateway = overlook{}

// protocols are the names of the dialects.
var protocols = [pusher.Dialects]string{"Pusher 7", "V2", "event stream"}

// Totals implements [console.Gateway].
func (o overlook) Totals() console.Totals {
	lines, stats := o.n.hub.Lines(), o.n.hub.Stats()
	t := console.Totals{
		At: time.Now().UnixMilli(), Connections: o.n.hub.Connections(), Channels: len(lines),
		Delivered: stats.Delivered, Frames: stats.Frames, Accepted: o.n.http.accepted.Load(), Behind: o.n.hub.Catching(),
	}
	t.Queued, t.QueuedBytes = o.n.hub.Queued()
	for _, l := range lines {
		t.Subscriptions += l.Count()
		t.Published += l.Posted()
	}
	return t
}

// Channels implements [console.Gateway].
func (o overlook) Channels() []console.Channel {
	lines := o.n.hub.Lines()
	out := make([]console.Channel, len(lines))
	for i, l := range lines {
		out[i] = console.Channel{App: l.App, Name: l.Name, Subscriptions: l.Count(), Published: l.Posted()}
	}
	return out
}

// Connections implements [console.Gateway].
func (o overlook) Connections() []console.Connection {
	guests := o.n.hub.Guests()
	out, of := make([]console.Connection, len(guests)), make(map[*socket.Socket]*console.Connection, len(guests))
	for i := range guests {
		g := &guests[i]
		out[i] = console.Connection{ID: g.ID, App: g.App, Address: g.Address, User: g.User, Protocol: protocols[g.Dialect], Since: g.Began.UnixMilli()}
		of[g.Socket] = &out[i]
	}
	now := o.n.opt.Log.Now().UnixMilli()
	for _, l := range o.n.hub.Lines() {
		l.Standings(func(s fanout.Standing) {
			c := of[s.Socket]
			if c == nil {
				return
			}
			c.Subscriptions++
			c.Events += s.Waiting
			c.Oldest = max(c.Oldest, since(s.Oldest, now))
			switch s.State {
			case "behind":
				c.Behind++
			case "catching":
				c.Catching++
			}
		})
	}
	for i := range guests {
		waits := guests[i].Socket.Look()
		c := &out[i]
		c.Frames, c.Bytes, c.Blocked = waits.Frames, waits.Bytes, since(waits.Blocked, time.Now().UnixMilli())
		c.Events += waits.Events
		c.Closing = waits.Leaving
		c.Oldest = max(c.Oldest, since(waits.Oldest, now), c.Blocked)
	}
	return out
}

// since returns the milliseconds from at to now; 0 if at is 0.
func since(at, now int64) int64 {
	if at == 0 {
		return 0
	}
	return max(now-at, 0)
}

// Subscriptions implements [console.Gateway].
func (o overlook) Subscriptions(id string) (out []console.Subscription, ok bool) {
	s := o.n.hub.SocketOf(id)
	if s == nil {
		return nil, false
	}
	now := o.n.opt.Log.Now().UnixMilli()
	for _, l := range o.n.hub.Lines() {
		l.Standings(func(at fanout.Standing) {
			if at.Socket == s {
				out = append(out, console.Subscription{
					Channel: l.Name, State: at.State, Deltas: at.Deltas, Waiting: at.Waiting, Skipped: at.Skipped, Place: at.Place, Head: at.Head,
					Oldest: since(at.Oldest, now),
				})
			}
		})
	}
	return out, true
}

// Watch implements [console.Gateway].
func (o overlook) Watch(app, channel string, show func(int, func() console.Event)) (func(), error) {
	a := o.n.opt.Apps.ByID(app)
	if a == nil {
		return nil, broker.ErrUnknownApp
	}
	if err := pusher.CheckChannel(channel, a.Limits.MaxChannelLength); err != nil {
		return nil, fmt.Errorf("%w: %w", broker.ErrInvalidQuery, err)
	}
	stop, err := o.n.hub.Watch(a, channel, &fanout.Tap{Show: func(p *fanout.Event) {
		show(2*p.Pub.Bytes()+1024, func() console.Event { return seen(p) })
	}})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return stop, nil
}

// seen describes a publication and the form in which it is sent.
func seen(p *fanout.Event) console.Event {
	e, out := console.Seen(p.Pub, console.MaxShown), p.Outcome()
	e.Full, e.Wire, e.Form = out.Full, out.Full, "full"
	switch {
	case !out.Tracked:
		e.Form = "plain"
	case out.Delta > 0:
		e.Form, e.Wire = "delta", out.Delta
	}
	if out.Key != "" {
		e.Key = out.Key
	}
	return e
}

// Members implements [console.Gateway].
func (o overlook) Members(ctx context.Context, app, channel string) ([]console.Member, error) {
	if o.n.roster == nil || !pusher.KindOf(channel).Presence() {
		return nil, nil
	}
	all, err := o.n.roster.Members(ctx, app, channel)
	out := make([]console.Member, len(all))
	for i, m := range all {
		out[i] = console.Member{ID: m.User, Info: string(m.Info)}
	}
	return out, unavailable(err)
}

// Count implements [console.Gateway].
func (o overlook) Count(ctx context.Context, app, channel string) (console.Count, error) {
	if o.n.roster == nil {
		return console.Count{}, broker.ErrUnavailable
	}
	if pusher.KindOf(channel).ServerToUser() {
		return console.Count{}, nil // signing in is not a subscription
	}
	n, err := o.n.roster.Count(ctx, app, channel)
	return console.Count{Subscriptions: n.Subscriptions, Members: n.Users}, unavailable(err)
}

// returns maps the console's choices to close codes, which tell client libraries whether to reconnect.
var returns = map[console.Return]pusher.CloseCode{
	console.AtOnce: pusher.CloseReconnect, console.Later: pusher.CloseOverCapacity, console.Never: pusher.CloseNotAuthorized,
}

// Close implements [console.Gateway].
func (o overlook) Close(id string, back console.Return, reason string) bool {
	return o.n.hub.Dismiss(id, returns[back], reason)
}

// Terminate implements [console.Gateway].
func (o overlook) Terminate(ctx context.Context, app, user string) error {
	a := o.n.opt.Apps.ByID(app)
	if a == nil {
		return broker.ErrUnknownApp
	}
	return o.n.hub.Terminate(ctx, a, user)
}

// Health implements [console.Gateway].
func (o overlook) Health() console.Health {
	h := o.n.opt.Log.Health()
	refusals := o.n.refusals()
	out := console.Health{
		Ready: h.Ready && len(refusals) == 0 && !o.n.draining.Load(), Backend: h.Backend, Durability: h.Durability,
		Problems: append(o.n.problemsWith(h), refusals...), Pending: []string{},
	}
	if o.n.opt.Pending != nil {
		out.Pending = append(out.Pending, o.n.opt.Pending()...)
	}
	return out
}

// Cluster implements [console.Gateway].
func (o overlook) Cluster(ctx context.Context) console.Cluster {
	out := console.Cluster{Differ: append([]string{}, o.n.agreement.Notes()...), Health: o.Health(), Streams: []console.Stream{}}
	self := console.Node{ID: o.n.opt.Name, Label: o.n.Addr(), Version: o.n.opt.Version, Self: true}
	if o.n.agreement != nil {
		self.Label = o.n.agreement.label
	}
	out.Gateways = append(out.Gateways, self)
	if o.n.roster != nil {
		others := o.n.agreement.Others()
		for _, node := range o.n.roster.Nodes() {
			if node != self.ID {
				out.Gateways = append(out.Gateways, console.Node{ID: node, Label: others[node].label, Version: others[node].version})
			}
		}
	}
	if o.n.opt.Console.Streams != nil {
		out.Streams, out.Note = o.n.opt.Console.Streams(ctx)
	}
	return out
}
