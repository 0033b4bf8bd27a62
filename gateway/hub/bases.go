package hub

import (
	"slices"
	"time"
)

// baseBytes bounds the bases kept for one channel.
const baseBytes = 8 << 20

// resetBases makes the next tracked frame of every conflation value full.
func (c *Channel) resetBases() {
	for _, b := range c.log.bases {
		if b != nil {
			b.Reset()
		}
	}
}

// base notes what deltas of a tracked publication may start from, and makes it
// the newest base.
func (c *Channel) base(p *event, full bool) {
	size := 2*len(p.pub.Data) + 512
	if c.hub.baseBytes.Load() > c.hub.opt.TotalBaseBytes {
		// Full frames do without, until [Hub.thinBases] has made room.
		c.resetBases()
		return
	}
	// In keyed mode single-base clients are a minority. The runs of all
	// conflation values end in their one, so theirs may need an end of its own.
	c.log.run++
	singleFull := full || c.keyed && c.log.run >= max(c.delta.Interval, 1)
	if singleFull {
		c.log.run = 0
	}
	for mode, bases := range c.log.bases {
		if bases == nil {
			continue
		}
		line, key := &p.bases[mode], ""
		line.full = singleFull
		if mode == keyedBases {
			line.full, key = full, p.key
		}
		bases.Recent(key, p.pub.Time, line.recent[:])
		bases.Put(key, p.pub.Offset, p.pub.Time, p.texts, size)
	}
}

// countBases tells the hub how many bases the channel keeps. Those of single-base
// mode beside others hold nothing of their own.
func (c *Channel) countBases() {
	b := c.log.bases[keyedBases]
	if b == nil {
		b = c.log.bases[singleBase]
	}
	if b == nil {
		return
	}
	c.hub.baseKeys.Add(int64(b.Len() - c.log.keys))
	c.hub.baseBytes.Add(int64(b.Bytes() - c.log.bytes))
	c.log.keys, c.log.bytes = b.Len(), b.Bytes()
}

// expireBases forgets the bases of a channel that has been silent for as long as
// they may be used. It goes by when they arrived here and not by their times, which
// are of the log's clock.
func (c *Channel) expireBases(now time.Time) {
	c.log.Lock()
	defer c.log.Unlock()
	c.recent.expire(c.hub.opt.LogTime())
	if c.log.bases[singleBase] != nil && now.Sub(c.log.count.Arrived()) >= time.Duration(c.delta.MaxAgeSeconds)*time.Second {
		c.resetBases()
		c.countBases()
	}
}

// dropBases forgets all bases of a channel that nobody follows any more.
func (c *Channel) dropBases() {
	c.log.Lock()
	defer c.log.Unlock()
	c.resetBases()
	c.countBases()
	c.recent.begin(c.log.epoch, 0)
	if c.log.count != nil {
		c.log.count.Leave()
	}
}

// thinBases makes room when all channels together keep too many bases: those go first
// that were silent for longest.
func (h *Hub) thinBases() {
	if h.baseBytes.Load() <= h.opt.TotalBaseBytes {
		return
	}
	type silent struct {
		channel *Channel
		heard   time.Time
	}
	var all []silent
	for _, c := range h.attached() {
		c.log.Lock()
		if c.log.bytes > 0 {
			all = append(all, silent{c, c.log.count.Arrived()})
		}
		c.log.Unlock()
	}
	slices.SortFunc(all, func(a, b silent) int { return a.heard.Compare(b.heard) })
	for _, s := range all {
		if h.baseBytes.Load() <= h.opt.TotalBaseBytes/4*3 {
			return
		}
		s.channel.log.Lock()
		s.channel.resetBases()
		s.channel.countBases()
		s.channel.log.Unlock()
	}
}
