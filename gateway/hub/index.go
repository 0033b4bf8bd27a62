package hub

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/turns"
)

// maxIdle is the number of channels that are kept without subscribers in case these come back.
const maxIdle = 8192

// errBusy: the turn to attach a channel did not come in time.
var errBusy = errors.New("hub: too many channels are being attached")

// errScarce: memory is scarce, so no further channel is attached.
var errScarce = errors.New("hub: memory is scarce")

// acquire returns an attached channel and counts the caller as a user of it, which [Hub.unref] reverses. If
// the channel is not followed yet, acquire waits for a turn to attach it. The turn and the attaching may each
// take AttachTimeout.
func (h *Hub) acquire(a *app.App, name string, by *turns.Asker) (*Channel, error) {
	c, _, err := h.use(a, name, false)
	for c == nil && err == nil {
		c, err = h.follows(a, name, by)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
	defer cancel()
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

// follows attaches a channel when its turn has come. It returns nil if the channel was attached for another
// caller and is gone again.
func (h *Hub) follows(a *app.App, name string, by *turns.Asker) (*Channel, error) {
	if h.scarce() {
		return nil, errScarce
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
	turn, err := h.gate.Enter(ctx, by, channelKey{a.ID, name})
	cancel()
	switch {
	case err != nil && h.ctx.Err() != nil:
		return nil, broker.ErrClosed
	case err != nil:
		return nil, errBusy
	case turn == nil:
		c, _, err := h.use(a, name, false)
		return c, err
	}
	defer turn.End()
	// Memory may have become scarce while this goroutine waited for its turn.
	if c, _, err := h.use(a, name, false); c != nil || err != nil {
		return c, err
	}
	if h.scarce() {
		return nil, errScarce
	}
	c, mine, err := h.use(a, name, true)
	if mine {
		h.gate.Coming(channelKey{a.ID, name})
		ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
		defer cancel()
		c.attach(ctx)
	}
	return c, err
}

func (h *Hub) scarce() bool { return h.opt.Scarce != nil && h.opt.Scarce() }

// use counts one more user of a channel. If there is no such channel, it creates one if make is set, and the
// caller must attach it (mine). Otherwise it returns nil.
func (h *Hub) use(a *app.App, name string, make bool) (c *Channel, mine bool, err error) {
	key := channelKey{a.ID, name}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, broker.ErrClosed
	}
	if c = h.channels[key]; c == nil {
		if !make {
			return nil, false, nil
		}
		c, mine = h.newChannel(a, name), true
		h.channels[key] = c
	}
	delete(h.idle, c)
	c.refs++
	return c, mine, nil
}

// unref gives up one use of a channel. A channel that could not be attached is removed at once, so that the
// next subscriber tries again. So is an unused channel while maxIdle others are kept.
func (h *Hub) unref(c *Channel) {
	if h.release(c) {
		c.detach()
	}
}

// release is unref without detaching. It reports whether the caller must detach the channel.
func (h *Hub) release(c *Channel) bool {
	key := channelKey{c.tenant.ID, c.Name}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.refs--
	attached := false
	select {
	case <-c.attached:
		attached = true
		if c.err != nil {
			if h.channels[key] == c {
				delete(h.channels, key)
			}
			return false
		}
	default:
	}
	if c.refs > 0 {
		return false
	}
	// If the channel has members, other gateways must first learn that they have left.
	if attached && len(h.idle) >= maxIdle && !c.roll.Follows() {
		delete(h.channels, key)
		return true
	}
	c.idleSince = h.opt.Now()
	h.idle[c] = struct{}{}
	return false
}
