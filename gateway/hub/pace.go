package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/turns"
)

// paces bound the rates of what one connection may send. A connection that exceeds a rate is not refused but
// read more slowly, so a client that reconnects with many channels loses nothing. They belong to the reading
// goroutine.
type paces struct{ frames, requests turns.Pace }

// longRequest is a size in bytes. A request counts once more for each multiple of it, and larger messages are
// parsed in turns.
const longRequest = 4 << 10

// costly are the requests that pass [Client.paceRequest].
var costly = map[string]bool{"subscribe": true, "unsubscribe": true, "signin": true, "resume": true, "channel_history": true}

// Listens implements [websocket.Peer].
func (c *Client) Listens() { c.handling(false) }

// Pace implements [websocket.Peer]: it waits until the connection may send n more frames.
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

// paceRequest waits until the connection may make one of the costly requests. A long message counts more than
// once. It returns false for a client that has left meanwhile.
func (c *Client) paceRequest(bytes int) bool {
	if r := c.hub.limit.Load().SubscriptionRate; r > 0 {
		c.pace.requests.Take(1+bytes/longRequest, r, r+c.hub.limit.Load().MaxSubscriptions, "subscription_rate", c)
	}
	if c.hub.opt.Turn == nil {
		return true
	}
	c.queued.Store(true)
	defer c.queued.Store(false)
	err := c.hub.opt.Turn(c.hub.ctx, c.asks.Address) // thousands may request something at once, even if they were admitted one by one
	c.sock.Alive()                                   // nothing was read from the client meanwhile
	return err == nil && !c.sock.Gone()
}

// Wait implements [turns.Late].
func (c *Client) Wait(limit string, d time.Duration) bool {
	if c.refused == 0 {
		c.limited(limit)
	}
	return c.hub.tasks.Pause(d)
}
