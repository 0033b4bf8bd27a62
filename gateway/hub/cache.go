package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
)

// defaultCacheTTL is how long the last event of a cache channel is remembered.
const defaultCacheTTL = 30 * time.Minute

// primeCache finds the last event of a cache channel up to the position at which the feed begins. If the log
// changes its epoch meanwhile, that event is forgotten.
func (c *Channel) primeCache(ctx context.Context, at broker.Position) error {
	if at.Offset == 0 {
		return nil
	}
	log := sight.Log{History: c.hub.opt.History, Now: c.hub.opt.LogTime}
	pub, err := log.Remembered(ctx, c.tenant.ID, c.Name, at.Offset)
	if err != nil || pub == nil {
		return err
	}
	p := c.NewEvent(pub)
	c.log.Lock()
	defer c.log.Unlock()
	if pub.Epoch != at.Epoch || c.log.epoch != at.Epoch || pub.Offset <= c.log.forgotten {
		return nil
	}
	for i := range c.Shards {
		c.Shards[i].Remember(p)
	}
	return nil
}

// fromCache returns the event that a new subscriber gets from the cache of a channel, or nil. If the channel
// has a cache and the cache is empty, the subscriber is sent cache_miss. The caller holds the lock of the
// subscribers.
func (c *Client) fromCache(channel *Channel, at *fanout.Start) *fanout.Event {
	if !channel.Caches {
		return nil
	}
	if c.fresh(channel, at.Cached) {
		return at.Cached
	}
	// Gateways that did not follow the channel when it was purged must name the same offset for this empty
	// cache.
	last := channel.purged(at.Epoch)
	if at.Cached != nil {
		last = max(last, at.Cached.Pub.Offset)
	}
	c.control(pusher.Control{Event: "cache_miss", Channel: channel.Name})
	channel.tellMiss(last)
	return nil
}

// purged returns the offset up to which the channel was purged in an epoch, 0 if it was not.
func (c *Channel) purged(epoch string) uint64 {
	if at, ok := c.attachment.(interface{ Purged(epoch string) uint64 }); ok {
		return at.Purged(epoch)
	}
	return 0
}

// fresh reports whether cached, which may be nil, is still in the cache of a channel.
func (c *Client) fresh(channel *Channel, cached *fanout.Event) bool {
	return channel.Caches && cached != nil && c.hub.opt.LogTime().Sub(cached.Pub.Time) < c.hub.opt.CacheTTL
}

// tellMiss reports once, over all gateways, to the application's webhooks that a cache channel is empty. It
// must not block.
func (c *Channel) tellMiss(last uint64) {
	h := c.hub
	if !c.roll.Misses(last) {
		return
	}
	h.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
		defer cancel()
		c.log.Lock()
		epoch := c.log.epoch
		c.log.Unlock()
		c.roll.Missed(ctx, epoch, last)
	})
}
