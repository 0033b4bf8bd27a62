package hub

import (
	"context"
	"sync"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Limit puts other limits in force. What connections have beyond them they keep.
func (h *Hub) Limit(l app.PerConnection) { h.limit.Store(l.WithDefaults()) }

// Apply puts in force what the registry of apps says now: connections of apps that are removed or
// disabled are closed, and channels have the rules of their apps. It is for one goroutine at a
// time, and returns when all of it is in force, or ctx is done.
func (h *Hub) Apply(ctx context.Context) {
	h.opt.Metrics.begin(h.opt.Apps)
	for _, c := range h.everybody() {
		c.leaveIfGone()
	}
	h.follow()
	h.recount()
	h.reform(ctx)
}

// leaveIfGone closes a connection whose app is not there any more, and says whether it did.
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

// recount writes numbers that nobody wanted to know before.
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

// reform gives all channels the rules of their apps, some at a time.
func (h *Hub) reform(ctx context.Context) {
	var working sync.WaitGroup
	places := make(chan struct{}, h.opt.Attaching)
	for _, c := range h.attached() {
		// Whoever uses it keeps it.
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
