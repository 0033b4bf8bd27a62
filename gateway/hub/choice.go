package hub

import (
	"github.com/sluicehq/sluice/gateway/socket"
)

// choice picks the frame for each subscription and counts what was sent. It is
// used for one publication in one shard.
type choice struct {
	p *prepared
	// full is the full frame if the last frame picked takes part in delta
	// compression, and asDelta says that a delta was picked instead.
	full    *socket.Frame
	asDelta bool
	// What was sent of tracked frames, and their bytes.
	fulls, deltas   int
	original, saved int
}

// pick returns the frame for a subscription, or nil if it gets none.
func (c *choice) pick(s *subscribers, sub *subscription) *socket.Frame {
	p := c.p
	if p.gap != nil {
		return p.gapFrame(sub)
	}
	if p.pub.Offset <= sub.since {
		return nil
	}
	if !p.concerns(s, sub) {
		// What the socket did not get cannot be a base.
		s.missed(sub, p)
		return nil
	}
	return c.frame(s, sub)
}

// concerns tells whether a subscription is meant to get the publication.
func (p *prepared) concerns(s *subscribers, sub *subscription) bool {
	return (p.exclude == nil || sub.out.Socket() != p.exclude) && s.filters.passes(sub.filter, p)
}

// frame returns the frame of a publication that the socket gets.
func (c *choice) frame(s *subscribers, sub *subscription) *socket.Frame {
	p, f := c.p, sub.form
	c.full, c.asDelta = nil, false
	if f&formDelta == 0 || !p.tracked {
		return p.bare(f.dialect(), f&formDelta != 0)
	}
	if sub.flags&bounded != 0 && !s.recent[sub.out].has(s) {
		s.restart(sub)
	}
	c.full = p.full(f)
	if base := s.base(sub, p); base >= 0 {
		if d := p.delta(f, base); d != nil {
			c.asDelta = true
			return d
		}
	}
	return c.full
}

// sent counts the frame that was picked last.
func (c *choice) sent(s *subscribers, sub *subscription, f *socket.Frame) {
	if c.full == nil {
		return
	}
	if sub.flags&bounded != 0 {
		s.recent[sub.out].touch(s)
	}
	size := len(c.full.Payload())
	c.original += size
	if c.asDelta {
		c.deltas++
		c.saved += size - len(f.Payload())
		return
	}
	c.fulls++
}

// report adds what was sent to the metrics of the channel.
func (c *choice) report() {
	if c.original == 0 {
		return
	}
	m := c.p.channel.counters()
	if c.fulls > 0 {
		m.full.Add(float64(c.fulls))
	}
	if c.deltas > 0 {
		m.deltas.Add(float64(c.deltas))
		m.saved.Add(float64(c.saved))
	}
	m.original.Add(float64(c.original))
}
