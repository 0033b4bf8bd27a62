package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/turns"
)

// paces bound what one connection may ask for in a time. A peer that asks for more is
// not refused: its connection is read more slowly, so that a client which comes back
// with many channels loses nothing. Belongs to the reading goroutine.
type paces struct{ frames, requests turns.Pace }

// longRequest is for how many bytes a request counts once more, and from which size on
// messages take turns.
const longRequest = 4 << 10

// costly are the requests that [Client.paceRequest] is for.
var costly = map[string]bool{"subscribe": true, "unsubscribe": true, "signin": true, "resume": true, "channel_history": true}

// Listens implements [websocket.Peer].
func (c *Client) Listens() { c.handling(false) }

// Pace implements [websocket.Peer]: it waits until the connection may send that many frames.
func (c *Client) Pace(n int) {
	c.handling(true)
	r := c.hub.limit.Load().MessageRate
	if n == 0 || r <= 0 || c.refused == 0 && c.app().ClientEvents && c.app().ClientEventRate <= 0 {
		return
	}
	if c.refused == 0 && c.app().ClientEvents {
		r += c.app().ClientEventRate
	}
	c.pace.frames.Take(n, r, r+c.hub.limit.Load().MaxSubscriptions, "message_rate", c)
}

// paceRequest waits until the connection may subscribe, unsubscribe or sign in: what
// costs most. A long message costs more. It is false for a client that has gone meanwhile.
func (c *Client) paceRequest(bytes int) bool {
	if r := c.hub.limit.Load().SubscriptionRate; r > 0 {
		c.pace.requests.Take(1+bytes/longRequest, r, r+c.hub.limit.Load().MaxSubscriptions, "subscription_rate", c)
	}
	if c.hub.opt.Turn == nil {
		return true
	}
	c.queued.Store(true)
	defer c.queued.Store(false)
	err := c.hub.opt.Turn(c.hub.ctx, c.asks.Address) // thousands may ask at once, however they were let in
	c.sock.Alive()                                   // nothing of the client was read meanwhile
	return err == nil && !c.sock.Gone()
}

// Wait implements [turns.Late].
func (c *Client) Wait(limit string, d time.Duration) bool {
	if c.refused == 0 {
		c.limited(limit)
	}
	return c.hub.tasks.Pause(d)
}
