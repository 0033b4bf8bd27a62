package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/turns"
)

// drainGroup is the least number of connections that are asked to leave at a time: so many may
// come back elsewhere at once without anybody noticing.
const drainGroup = 50

// Drain refuses new connections and asks those that are there to come back elsewhere
// (4200), spread over that time so that other gateways are not overrun. Until its
// turn comes a connection works as ever. It returns when all were asked, or ctx is
// done; Close follows.
func (h *Hub) Drain(ctx context.Context, over time.Duration) {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	h.quota.Leaving()
	turns.Spread(ctx, over, drainGroup, h.everybody(), func(c *Client) { c.endSaying(pusher.CloseReconnect, reasonStopping) })
}
