package hub

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
)

// errScarce: memory is scarce, and a channel that is not followed yet would need some.
var errScarce = errors.New("hub: memory is scarce")

// acquire returns the attached channel and counts the caller as a user of it.
func (h *Hub) acquire(ctx context.Context, a *app.App, name string) (*Channel, error) {
	key := channelKey{a.ID, name}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, broker.ErrClosed
	}
	c := h.channels[key]
	mine := c == nil
	if mine {
		if h.opt.Scarce != nil && h.opt.Scarce() {
			h.mu.Unlock()
			return nil, errScarce
		}
		c = h.newChannel(a, name)
		h.channels[key] = c
	}
	delete(h.idle, c)
	c.refs++
	h.mu.Unlock()
	if mine {
		c.attach(ctx)
	}
	select {
	case <-c.attached:
	case <-ctx.Done():
		h.unref(c)
		return nil, ctx.Err()
	}
	if c.err != nil {
		h.unref(c)
		return nil, c.err
	}
	return c, nil
}

// unref gives up one use of a channel. A channel that could not be attached
// leaves at once, so that the next subscriber tries again.
func (h *Hub) unref(c *Channel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.refs--
	select {
	case <-c.attached:
		if c.err != nil && h.channels[channelKey{c.app.ID, c.name}] == c {
			delete(h.channels, channelKey{c.app.ID, c.name})
			return
		}
	default:
	}
	if c.refs == 0 && c.err == nil {
		c.idleSince = h.opt.Now()
		h.idle[c] = struct{}{}
	}
}

// drop removes a connection from a channel, of which it was a member if user is not
// empty.
func (c *Channel) drop(client *Client, user string) {
	if c.shards[client.shard.id].drop(client) {
		c.counted(-1)
	}
	if user != "" {
		c.roll.room.Leave(user)
	}
	c.hub.unref(c)
}

// detach ends a channel that nobody uses any more.
func (c *Channel) detach() {
	if c.attachment != nil {
		c.attachment.Detach()
	}
	c.roll.end()
	c.dropBases()
}
