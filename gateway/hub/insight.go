package hub

import (
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/turns"
)

// Guest is a connection as operators see it.
type Guest struct {
	ID, App, Address string
	// User is the user that the connection is signed in as, empty if it is not.
	User    string
	Dialect pusher.Dialect
	Began   time.Time
	Socket  *socket.Socket
}

// Guests lists the connections that were admitted.
func (h *Hub) Guests() []Guest {
	all := h.everybody()
	users := map[*Client]string{}
	h.mu.Lock()
	for key, clients := range h.users {
		for c := range clients {
			users[c] = key.user
		}
	}
	h.mu.Unlock()
	out := make([]Guest, 0, len(all))
	for _, c := range all {
		if c.refused == 0 {
			out = append(out, Guest{c.id, c.tenant.ID, c.address, users[c], c.dialect, c.began, c.sock})
		}
	}
	return out
}

// Lines lists the channels that are followed or being attached.
func (h *Hub) Lines() []*fanout.Line {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*fanout.Line, 0, len(h.channels))
	for _, c := range h.channels {
		out = append(out, c.Line)
	}
	return out
}

// Watch calls tap for what is published in a channel until stop is called. It keeps the channel attached like
// a subscriber.
func (h *Hub) Watch(a *app.App, channel string, tap *fanout.Tap) (stop func(), err error) {
	c, err := h.acquire(a, channel, new(turns.Asker))
	if err != nil {
		return nil, err
	}
	end := c.Tap(tap)
	return func() { end(); h.unref(c) }, nil
}

// Dismiss closes a connection with a code and a reason. It reports false if there is no connection with this
// id.
func (h *Hub) Dismiss(id string, code pusher.CloseCode, reason string) bool {
	c := h.find(id)
	if c != nil {
		c.endSaying(code, reason)
	}
	return c != nil
}

// SocketOf returns the socket of a connection, nil if there is no connection with this id.
func (h *Hub) SocketOf(id string) *socket.Socket {
	if c := h.find(id); c != nil {
		return c.sock
	}
	return nil
}

// Stats returns counts of the delivery. Safe for concurrent use.
func (h *Hub) Stats() fanout.Stats { return h.hall.Stats() }

// Queued counts the frames and bytes that wait in the outboxes of all sockets.
func (h *Hub) Queued() (frames, bytes int) { return h.hall.Queued() }

// Catching returns how many subscriptions are being sent the past.
func (h *Hub) Catching() int64 { return h.hall.Catching.Load() }
