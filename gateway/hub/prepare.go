package hub

import (
	"math"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/fanout"
)

// prepare decides everything about a publication that does not depend on the
// socket. Given the same log and configuration every gateway decides alike.
// Returns nil for one that no socket gets.
func (c *Channel) prepare(pub *broker.Publication) *fanout.Event {
	c.enter(pub.Epoch, pub.Offset-1)
	c.log.reached = pub.Offset
	p := c.NewEvent(pub)
	c.exclude(p)
	// The count is told of every publication, whatever becomes of it: it must depend on
	// nothing but the log.
	part := p.Part()
	full := c.log.count == nil || c.log.count.Publication(pub, part, p.Key, c.hub.opt.Now())
	if pub.Skipped != "" {
		c.recent.Skip(pub.Offset)
		for i := range c.Shards {
			c.Shards[i].Skip(p)
		}
		return nil
	}
	c.log.bases.Track(p, part, full)
	if p.Tracked && pub.Node != "" && pub.Node != c.hub.opt.Node {
		c.counters().horizontal.Inc()
	}
	c.recent.Add(p)
	return p
}

// exclude finds the socket that must not get a publication, if it is one of this gateway.
func (c *Channel) exclude(p *fanout.Event) {
	if p.Pub.ExcludeSocket == "" {
		return
	}
	if excluded := c.hub.find(p.Pub.ExcludeSocket); excluded != nil {
		p.Exclude = excluded.sock
	}
}

// Past implements [count.Channel]: while a channel is primed, bases are made of its past.
// Later they would be out of order.
func (c *Channel) Past(pub *broker.Publication, full bool) {
	if !c.log.priming.Load() || c.log.reforming || pub.Skipped != "" {
		return
	}
	p := c.NewEvent(pub)
	c.log.bases.Track(p, p.Part(), full)
	if c.recent != nil {
		c.log.past = append(c.log.past, p)
	}
}

// expireBases forgets the bases of a channel that has been silent for as long as
// they may be used. It goes by when they arrived here and not by their times, which
// are of the log's clock.
func (c *Channel) expireBases(now time.Time) {
	c.log.Lock()
	defer c.log.Unlock()
	c.recent.Expire(c.hub.opt.LogTime())
	if d := c.Rules().Delta; d.Enabled && now.Sub(c.log.count.Arrived()) >= time.Duration(d.MaxAgeSeconds)*time.Second {
		c.log.bases.Drop()
	}
}

// dropBases forgets all bases of a channel that nobody follows any more, and what waits for it.
func (c *Channel) dropBases() {
	c.log.Lock()
	defer c.log.Unlock()
	c.log.bases.Drop()
	c.log.early.Take()
	c.recent.Begin(c.log.epoch, math.MaxInt64)
	if c.log.count != nil {
		c.log.count.Leave()
	}
}
