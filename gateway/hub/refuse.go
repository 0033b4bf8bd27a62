package hub

import (
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// Refuse implements [websocket.Peer].
func (c *Client) Refuse(b *websocket.BadFrame) {
	c.hub.opt.Metrics.badFrame(b.Reason)
	if c.refused != 0 {
		return
	}
	if b == websocket.TooLarge {
		c.limited("message_size")
	}
	c.hub.opt.Logger.Debug("a frame was refused", "app", c.tenant.ID, "socket_id", c.id,
		"address", c.address, "reason", b.Reason)
	c.sock.End(websocket.Closing(b.Code, b.Say(c.hub.opt.MaxMessage)))
}

// TooSlow implements [websocket.Peer].
func (c *Client) TooSlow() {
	if c.refused == 0 {
		c.limited("message_bytes")
	}
	c.end(pusher.CloseOverCapacity)
	c.sock.Abort()
}
