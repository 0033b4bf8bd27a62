package hub

import (
	"context"
	"net/http"
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
func (h *Hub) Drain(ctx context.Context, over time.Duration) { h.drain(ctx, over, nil) }

// drain is Drain and returns how many WebSockets were asked. staying is nil if there is nobody to stay for.
func (h *Hub) drain(ctx context.Context, over time.Duration, staying *turns.Stay) (asked int64) {
	h.mu.Lock()
	h.draining, h.staying = true, staying
	h.mu.Unlock()
	h.quota.Leaving()
	turns.Spread(ctx, over, drainGroup, h.everybody(), func(c *Client) {
		if c.dialect != pusher.Events && c.refused == 0 {
			asked++
		}
		c.endSaying(pusher.CloseReconnect, reasonStopping)
	})
	return asked
}

// Stay is Drain for a gateway that has no other one beside it: clients that are asked come back at once, and
// if they found nobody, libraries like pusher-js would wait for many seconds before they tried again. So they are
// held until the function that it returns is called, which is when nobody can come any more, and told to
// come back after a moment (4100), when the next process may be there. Stay returns when all WebSockets that
// were asked are back, so long after the last one was asked at the latest, or when ctx is done. If no WebSocket was
// asked it does not wait.
func (h *Hub) Stay(ctx context.Context, over, linger time.Duration) (letGo func()) {
	staying := turns.NewStay()
	staying.Await(ctx, h.drain(ctx, over, staying), linger)
	return staying.LetGo
}

// holds says whether a request for a WebSocket comes back to a gateway that stays, after holding it.
func (h *Hub) holds(r *http.Request) bool {
	h.mu.Lock()
	staying := h.staying
	h.mu.Unlock()
	if staying != nil {
		staying.Hold(r.Context())
	}
	return staying != nil
}
