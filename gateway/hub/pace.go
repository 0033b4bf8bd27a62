package hub

import (
	"time"

	"golang.org/x/time/rate"
)

// pace bounds what one connection may ask for in a time. A peer that asks for more is
// not refused: its connection is read more slowly, so that a client which comes back
// with many channels loses nothing. Belongs to the reading goroutine.
type pace struct{ frames, requests *rate.Limiter }

// longRequest is for how many bytes a request counts once more, and from which size on
// messages take turns.
const longRequest = 4 << 10

// Pace implements [websocket.Peer]: it waits until the connection may send that many frames.
func (c *Client) Pace(n int) {
	r := c.hub.opt.MessageRate
	if n == 0 || r <= 0 || c.refused == 0 && c.app.ClientEvents && c.app.ClientEventRate <= 0 {
		return
	}
	if c.pace.frames == nil {
		if c.refused == 0 && c.app.ClientEvents {
			r += c.app.ClientEventRate
		}
		c.pace.frames = rate.NewLimiter(rate.Limit(r), r+c.hub.opt.MaxSubscriptions)
	}
	c.wait(c.pace.frames, n, "message_rate")
}

// paceRequest waits until the connection may subscribe, unsubscribe or sign in: what
// costs signatures, attaching, and records that others read. A long message costs more.
func (c *Client) paceRequest(bytes int) {
	r := c.hub.opt.SubscriptionRate
	if r <= 0 {
		return
	}
	if c.pace.requests == nil {
		c.pace.requests = rate.NewLimiter(rate.Limit(r), r+c.hub.opt.MaxSubscriptions)
	}
	c.wait(c.pace.requests, 1+bytes/longRequest, "subscription_rate")
}

// wait takes n tokens. The real clock counts, because real time is what is waited for.
func (c *Client) wait(l *rate.Limiter, n int, limit string) {
	for n > 0 {
		part := min(n, l.Burst())
		n -= part
		if d := l.ReserveN(time.Now(), part).Delay(); d > 0 {
			if c.refused == 0 {
				c.limited(limit)
			}
			if !c.hub.pause(d) {
				return
			}
		}
	}
}
