package hub

import (
	"context"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
	"github.com/sluicehq/sluice/gateway/socket"
)

// defaultCacheTTL is how long the last event of a cache channel is
// remembered.
const defaultCacheTTL = 30 * time.Minute

// primeCache finds the last event of a cache channel up to where the feed begins. A new
// life of the log forgets it, whenever it begins.
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

// greetCached sends a new subscriber of a cache channel the last event, plain, or
// says that there is none. The caller holds the lock, so that live publications
// follow.
//
// The reader of an event stream gets it without an id, since it is older than where he is,
// and not at all if he gets it on his way.
func (c *Client) greetCached(channel *Channel, f fanout.Form, cached *fanout.Event, way *fanout.Way) {
	if c.dialect == pusher.Events && way != nil {
		return
	}
	last := uint64(0)
	if cached != nil {
		if c.hub.opt.LogTime().Sub(cached.Pub.Time) < c.hub.opt.CacheTTL {
			frame := cached.Bare(f.Dialect(), f&fanout.Delta != 0)
			if c.dialect == pusher.Events {
				frame = socket.NewFrame(frame.Payload(), 0)
			}
			c.send(frame)
			return
		}
		last = cached.Pub.Offset
	}
	c.control(pusher.Control{Event: "cache_miss", Channel: channel.Name, NoData: true})
	channel.tellMiss(last)
}

// tellMiss tells the application once, over all gateways, that a cache channel is empty. It
// must not block.
func (c *Channel) tellMiss(last uint64) {
	h := c.hub
	if !c.roll.Misses(last) {
		return
	}
	h.background(func() {
		ctx, cancel := context.WithTimeout(h.ctx, h.opt.AttachTimeout)
		defer cancel()
		c.log.Lock()
		epoch := c.log.epoch
		c.log.Unlock()
		c.roll.Missed(ctx, epoch, last)
	})
}
