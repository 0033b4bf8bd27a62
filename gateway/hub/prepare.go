package hub

import (
	"bytes"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// maxTracked is the largest frame that takes part in delta compression.
const maxTracked = 1 << 20

// newEvent is a publication as it is read from the log. Its frames are plain.
func (c *Channel) newEvent(pub *broker.Publication) *event {
	t := &texts{line: c.line, pub: pub}
	if (c.delta.Enabled || pub.Origin == broker.OriginClient) && pub.Skipped == "" {
		t.shape = delta.ShapeOf(pub.Data)
	}
	if c.keyed {
		t.key = count.Value(&pub.Event, t.shape, c.log.path)
	}
	t.embed = c.delta.Enabled && t.shape == delta.Structure
	t.raw = pub.Origin == broker.OriginClient && (t.shape == delta.Structure || t.shape == delta.Scalar)
	return &event{texts: t}
}

// prepare decides everything about a publication that does not depend on the
// socket. Given the same log and configuration every gateway decides alike.
// Returns nil for one that no socket gets.
func (c *Channel) prepare(pub *broker.Publication) *event {
	c.enter(pub.Epoch)
	p := c.newEvent(pub)
	if pub.ExcludeSocket != "" {
		if excluded := c.hub.find(pub.ExcludeSocket); excluded != nil {
			p.exclude = excluded.sock
		}
	}
	// Every publication of the channel is counted, whatever becomes of it:
	// the count must depend on nothing but the log.
	full := c.log.count == nil || c.log.count.Publication(pub, p.key, c.hub.opt.Now())
	if pub.Skipped != "" {
		c.hub.opt.Metrics.skipped()
		c.recent.skip(pub.Offset)
		for i := range c.shards {
			c.shards[i].skip(p)
		}
		return nil
	}
	c.track(p, full)
	if p.tracked && pub.Node != "" && pub.Node != c.hub.opt.Node {
		c.counters().horizontal.Inc()
	}
	c.recent.add(p)
	return p
}

// Past implements [count.Channel]: while a channel is primed, bases are made of its past.
// Later they would be out of order.
func (c *Channel) Past(pub *broker.Publication, full bool) {
	if !c.log.priming || pub.Skipped != "" {
		return
	}
	p := c.newEvent(pub)
	c.track(p, full)
	if c.recent != nil {
		c.log.past = append(c.log.past, p)
	}
}

// track makes a publication a base, if it takes part in delta compression, and full says
// that the interval asks for the full frame.
func (c *Channel) track(p *event, full bool) {
	if !c.delta.Enabled {
		return
	}
	if poisoned(p.pub) {
		c.resetBases()
		return
	}
	if !c.tracks(p.texts) {
		return
	}
	p.tracked = true
	p.number = delta.Number(p.pub.Offset, c.log.salt)
	if p.number < c.log.number {
		c.resetBases()
	}
	c.log.number = p.number
	c.base(p, full)
}

// tracks says whether a publication takes part (protocol section 3.6).
func (c *Channel) tracks(t *texts) bool {
	pub := t.pub
	if pub.Delta == broker.DeltaNever || t.shape == delta.Empty || t.shape == delta.Scalar || len(pub.Data) > maxTracked {
		return false
	}
	if pub.Delta == broker.DeltaAlways || len(pub.Data) >= c.delta.MinSize {
		return true
	}
	// The V1 text decides for both dialects: the decision must be one.
	ev := t.event(pusher.V1, t.embed)
	return len(pusher.AppendBare(nil, pusher.V1, &ev)) >= c.delta.MinSize
}

// Value implements [count.Channel].
func (c *Channel) Value(pub *broker.Publication) string {
	if !c.keyed {
		return ""
	}
	shape := delta.Shape(0)
	if pub.Skipped == "" {
		shape = delta.ShapeOf(pub.Data)
	}
	return count.Value(&pub.Event, shape, c.log.path)
}

// poisoned tells whether a text would confuse clients that look for the old
// marker names inside payloads (protocol section 3.6).
func poisoned(p *broker.Publication) bool {
	return bytes.Contains(p.Data, []byte("__delta_seq")) || bytes.Contains(p.Data, []byte("__conflation_key")) ||
		p.Name == "__delta_seq" || p.Name == "__conflation_key"
}
