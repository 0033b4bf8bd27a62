package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// drainStep is the time between two groups of connections that are asked to
	// leave.
	drainStep = 50 * time.Millisecond
	// drainGroup is the least size of a group: so many may come back elsewhere
	// at once without anybody noticing.
	drainGroup = 50
)

// Drain refuses new connections and asks those that are there to come back elsewhere
// (4200), spread over that time so that other gateways are not overrun. Until its
// turn comes a connection works as ever. It returns when all were asked, or ctx is
// done; Close follows.
func (h *Hub) Drain(ctx context.Context, over time.Duration) {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	all := h.everybody()
	group := drainGroup
	if steps := int(over / drainStep); steps > 0 {
		group = max(group, (len(all)+steps-1)/steps)
	}
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for len(all) > 0 {
		n := min(group, len(all))
		for _, c := range all[:n] {
			c.endSaying(pusher.CloseReconnect, reasonStopping)
		}
		if all = all[n:]; len(all) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
