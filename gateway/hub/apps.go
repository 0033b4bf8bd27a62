package hub

import (
	"context"
	"sync"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Limit puts other limits in force. Connections that exceed them already lose nothing.
func (h *Hub) Limit(l app.PerConnection) { h.limit.Store(l.WithDefaults()) }

// Apply puts the present state of the app registry in force: it closes connections of apps that were removed
// or disabled, and gives channels the rules of their apps. Only one goroutine may call it at a time. It
// returns when all of this is in force, or when ctx is done.
func (h *Hub) Apply(ctx context.Context) {
	h.opt.Metrics.begin(h.opt.Apps)
	for _, c := range h.everybody() {
		c.leaveIfGone()
	}
	h.follow()
	h.recount()
	h.reform(ctx)
}

// leaveIfGone closes a connection whose app was removed or disabled, and reports whether it did.
func (c *Client) leaveIfGone() bool {
	if c.refused != 0 {
		return false
	}
	code := pusher.Gone(c.app())
	if code != 0 {
		c.endSaying(code, code.Message())
	}
	return code != 0
}

// recount writes the numbers of connections and of signed-in users that the apps did not need before.
func (h *Hub) recount() {
	for _, id := range h.opt.Apps.IDs() {
		if a := h.opt.Apps.ByID(id); a != nil {
			h.quota.Tell(a)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.users {
		if a := h.opt.Apps.ByID(key.app); a != nil {
			h.countUser(a, key)
		}
	}
}

// reform gives all channels the rules of their apps, up to [Options.Attaching] at a time.
func (h *Hub) reform(ctx context.Context) {
	var working sync.WaitGroup
	places := make(chan struct{}, h.opt.Attaching)
	for _, c := range h.attached() {
		// This reference keeps the channel from being detached meanwhile.
		c, _, _ := h.use(c.tenant, c.Name, false)
		if c == nil {
			continue
		}
		places <- struct{}{}
		working.Go(func() {
			defer func() { <-places }()
			defer h.unref(c)
			select {
			case <-c.attached:
			case <-ctx.Done():
				return
			}
			if c.err != nil || c.tenant.Now().Removed {
				return
			}
			c.reform()
			if err := c.roll.Open(ctx); err != nil {
				h.failures.Warn(h.opt.Logger, "roll", "who is in a channel is not followed until it is attached again", "app", c.tenant.ID, "channel", c.Name, "error", err)
			}
		})
	}
	working.Wait()
}
