package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/turns"
)

// Drain refuses new connections and asks those that are there to come back elsewhere
// (4200), spread over that time so that other gateways are not overrun. Until its
// turn comes a connection works as ever. It returns when all were asked, or ctx is
// done; Close follows.
func (h *Hub) Drain(ctx context.Context, over time.Duration) {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	turns.Spread(ctx, over, h.everybody(), func(c *Client) { c.endSaying(pusher.CloseReconnect, reasonStopping) })
}
