package client

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// positionsAtOnce bounds the positions of one resume request, which must fit into the server's limit for a
// message.
const positionsAtOnce = 50

// resumes reports whether the client resumes after a reconnect.
func (c *Client) resumes() bool { return c.opt.Protocol == pusher.V2 && !c.opt.NoResume }

// giveUp records gaps for the granted subscriptions that cannot be resumed, after a reconnect.
func (c *Client) giveUp(conn *connection, granted []*subscription) {
	reason := "the server gave no position to go on from"
	switch {
	case c.opt.Protocol != pusher.V2:
		reason = "the first dialect has no word for resuming"
	case c.opt.NoResume:
		reason = "resuming is switched off"
	}
	any := false
	for _, s := range granted {
		if !c.resumes() || c.positions.lost(s.channel) {
			c.positions.lose(s.channel, reason)
		} else {
			any = true
		}
	}
	if !any {
		c.positions.asked(conn.socketID)
	}
}

// returnTo requests all subscriptions on a new connection. The first ones are requested before their positions
// are sent; the flag `resumes` tells the server to expect these. The positions of the others are sent first and
// wait at the server.
func (c *Client) returnTo(conn *connection, wanted []*subscription) {
	if len(wanted) == 0 {
		return
	}
	// Auth may take long, and reading must continue meanwhile.
	c.work.Go(func() {
		var first, rest []*subscription
		for _, s := range wanted {
			if len(first) < positionsAtOnce && !pusher.KindOf(s.channel).NeedsAuth() {
				first = append(first, s)
			} else {
				rest = append(rest, s)
			}
		}
		for _, s := range first {
			c.ask(conn, s, resumed)
		}
		c.resume(conn, first...)
		for _, s := range rest {
			c.ask(conn, s, parked)
		}
		c.positions.asked(conn.socketID)
		c.recovered(conn)
	})
}

// resume sends the positions of subscriptions, if there are any.
func (c *Client) resume(conn *connection, subs ...*subscription) {
	channels := make([]string, 0, len(subs))
	deltas := map[string]bool{}
	for _, s := range subs {
		channels = append(channels, s.channel)
		deltas[s.channel] = c.opt.Delta && s.delta == "" || s.delta != "" && s.delta != "false"
	}
	if text := c.positions.request(c.opt.Protocol.Prefix(), channels, func(name string) bool { return deltas[name] }); text != nil {
		// A failed write ends the connection; the next one requests again.
		_ = conn.send(text)
	}
}

// recovered reports the result of a reconnect, once it is complete.
func (c *Client) recovered(conn *connection) {
	if sum := c.positions.summary(); sum != nil {
		c.opt.Logger.Info("recovered", "channels", sum.Channels, "events", sum.Events, "gaps", len(sum.Gaps))
		c.status(Status{Connected: true, SocketID: conn.socketID, Recovered: sum})
	}
}

// recovery handles the events about the past of subscriptions.
func (c *Client) recovery(conn *connection, ev Event) {
	v := gjson.Parse(ev.Data)
	switch strings.TrimPrefix(ev.Name, c.opt.Protocol.Prefix()) {
	case "resume_success":
		c.positions.resumed(v)
		c.recovered(conn)
	case "resume_failed":
		g := gapOf(v)
		if g.Channel == "" {
			g.Channel = ev.Channel
		}
		if g, ok := c.positions.failed(g); ok {
			c.missing(conn, g)
			c.recovered(conn)
		}
	case "conflated":
		c.positions.skipped(ev.Channel)
	default:
		c.positions.complete(ev.Channel)
	}
}

// denied gives up resuming, because the server cannot resume.
func (c *Client) denied(conn *connection) {
	for _, g := range c.positions.denied(conn.said) {
		c.missing(conn, g)
	}
	c.recovered(conn)
}

func (c *Client) missing(conn *connection, g Gap) {
	c.opt.Logger.Warn("events were missed", "channel", g.Channel, "code", g.Code, "reason", g.Reason)
	c.status(Status{Connected: true, SocketID: conn.socketID, Gap: &g})
}
