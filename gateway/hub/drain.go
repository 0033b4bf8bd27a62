package hub

import (
	"context"
	"net/http"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/turns"
)

// drainGroup is the least number of connections that are closed at a time. Another gateway accepts that many
// at once without delay for others.
const drainGroup = 50

// Drain refuses new connections and closes the existing ones with 4200, so that they reconnect to other
// gateways. The closes are spread over the given time, so that these are not overrun. Until its turn, a
// connection works as usual. Drain returns when all were closed or ctx is done. [Hub.Close] follows.
func (h *Hub) Drain(ctx context.Context, over time.Duration) { h.drain(ctx, over, nil) }

// drain is Drain and returns how many WebSockets it closed. staying is nil if other gateways accept the
// connections.
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

// Stay is Drain for a gateway that is the only one. Clients that are closed reconnect at once, and if nothing
// accepted them, libraries such as pusher-js would wait for many seconds before the next attempt. So Stay
// holds the requests that come back until the returned function is called, which is when the listener is
// closed. They are then closed with 4100, so that the clients return after a moment, when the next process
// may be there. Stay returns when as many WebSockets have come back as were closed, when linger has passed
// since the last close, or when ctx is done. If it closed no WebSocket, it does not wait.
func (h *Hub) Stay(ctx context.Context, over, linger time.Duration) (letGo func()) {
	staying := turns.NewStay()
	staying.Await(ctx, h.drain(ctx, over, staying), linger)
	return staying.LetGo
}

// holds reports whether the gateway is in [Hub.Stay]. If so, it first holds the request until the stay ends.
func (h *Hub) holds(r *http.Request) bool {
	h.mu.Lock()
	staying := h.staying
	h.mu.Unlock()
	if staying != nil {
		staying.Hold(r.Context())
	}
	return staying != nil
}
