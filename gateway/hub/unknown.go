package hub

import (
	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// unknownPerSecond is how many unknown events of a connection are answered per second. A client that sends
// one by mistake is told at once; one that sends many is told only of some.
const unknownPerSecond = 5

// unknown answers an event that the server does not know, so that a client that misspelled it does not wait.
func (c *Client) unknown(event string) {
	c.limited("unknown_event")
	if c.mistakes == nil {
		c.mistakes = rate.NewLimiter(unknownPerSecond, 2*unknownPerSecond)
	}
	if !c.mistakes.AllowN(c.hub.opt.Now(), 1) {
		return
	}
	c.deny(refusedUnknown, "", pusher.NoCode, "%s", pusher.Unknown(c.dialect, event))
}
