package hub

import (
	"math"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/fanout"
)

// prepare decides everything about a publication that does not depend on the socket. With the same log and
// configuration, every gateway decides the same. It returns nil for a publication that no socket gets. The
// caller holds the lock of the log.
func (c *Channel) prepare(pub *broker.Publication) *fanout.Event {
	c.enter(pub.Epoch, pub.Offset-1)
	c.log.reached = pub.Offset
	p := c.NewEvent(pub)
	c.exclude(p)
	// The count is told of every publication, even of a skipped one, because it must depend on nothing but
	// the log.
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

// exclude finds the socket that must not get a publication, if it belongs to this gateway.
func (c *Channel) exclude(p *fanout.Event) {
	if p.Pub.ExcludeSocket == "" {
		return
	}
	if excluded := c.hub.find(p.Pub.ExcludeSocket); excluded != nil {
		p.Exclude = excluded.sock
	}
}

// Past implements [count.Channel]: while a channel is primed, its past becomes bases. Later they would be out
// of order.
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

// expireBases drops the bases of a channel that has been silent for their maximum age. Silence counts from
// when the last publication arrived here and not from its time, which is from the clock of the log.
func (c *Channel) expireBases(now time.Time) {
	c.log.Lock()
	defer c.log.Unlock()
	c.recent.Expire(c.hub.opt.LogTime())
	if d := c.Rules().Delta; d.Enabled && now.Sub(c.log.count.Arrived()) >= time.Duration(d.MaxAgeSeconds)*time.Second {
		c.log.bases.Drop()
	}
}

// dropBases drops all bases and early publications of a channel that nobody follows any more.
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
