package hub

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// maxTracked is the largest frame that takes part in delta compression.
	maxTracked = 1 << 20
	// baseBytes bounds the bases kept for one channel.
	baseBytes = 8 << 20
)

// Channel is one channel with subscribers on this gateway. The feed owns it:
// Publication and Gap are called by one goroutine at a time, in log order.
type Channel struct {
	hub   *Hub
	app   *app.App
	name  string
	delta app.Delta
	keyed bool
	// path is where the conflation value stands, also if nothing is compressed.
	path delta.Path
	// caches: the last event is sent to new subscribers.
	caches bool
	// conflates: sockets that are behind skip to the newest publication of
	// each conflation value. Without values there is nothing to go by.
	conflates bool
	// metrics are there once something was counted.
	metrics atomic.Pointer[channelMetrics]
	shards  []subscribers
	// recent is nil for channels of which nobody may get the past.
	recent *recent
	roll   *herald.Roll

	// attached is closed when attaching is over; err says how it ended.
	attached   chan struct{}
	attachment broker.Attachment
	err        error

	// refs and idleSince belong to the hub's lock.
	refs      int
	idleSince time.Time

	// log is what the owner alone may touch.
	log struct {
		rank.Mutex[rank.Channel]
		epoch  string
		salt   uint64
		number uint32
		path   delta.Path
		// count is nil if nothing is compressed.
		count *count.Counter
		// bases are kept by mode; those of keyed mode only if the channel
		// has a conflation path.
		bases [modes]*delta.Bases[*texts]
		// run is the number of deltas since the last full frame in
		// single-base mode, whatever their conflation values.
		run int
		// priming is set while the past of the channel is read; early
		// publications wait for it.
		priming bool
		early   []*broker.Publication
		// past is what was read to prime it.
		past []*event
		// keys and bytes are what the hub has been told of the bases.
		keys, bytes int
	}
}

func (h *Hub) newChannel(a *app.App, name string) *Channel {
	c := &Channel{
		hub: h, app: a, name: name, delta: a.ChannelDelta(name),
		shards: make([]subscribers, len(h.shards)), attached: make(chan struct{}),
	}
	c.roll = h.opt.Herald.Roll(h.opt.Roster, a, name, c)
	if pusher.KindOf(name).Encrypted() || !h.opt.DeltaEnabled {
		c.delta.Enabled = false
	}
	c.caches = pusher.KindOf(name).Cache() && h.opt.History != nil
	c.recent = newRecent(c)
	var err error
	if c.delta.Path != "" {
		c.path, err = delta.ParsePath(c.delta.Path)
	}
	if !c.delta.Enabled {
		return c
	}
	if c.delta.Path != "" {
		if err != nil {
			h.opt.Logger.Error("conflation path refused; channel runs without one", "app", a.ID, "path", c.delta.Path, "error", err)
		} else {
			c.log.path, c.keyed = c.path, true
			c.conflates = a.Conflate
		}
	}
	settings := count.Settings{Interval: c.delta.Interval, MaxValues: c.delta.MaxKeys, Retained: h.opt.RetainedMessages}
	c.log.count = count.NewCounter(h.cluster, a.ID, name, settings, &c.log, c)
	limits := delta.Limits{
		Keys: 1, Bytes: baseBytes, Age: time.Duration(c.delta.MaxAgeSeconds) * time.Second, Older: olderBases,
	}
	c.log.bases[singleBase] = delta.NewBases[*texts](limits)
	if c.keyed {
		limits.Keys = max(c.delta.MaxKeys, 1)
		c.log.bases[keyedBases] = delta.NewBases[*texts](limits)
	}
	return c
}

// resetBases makes the next tracked frame of every conflation value full.
func (c *Channel) resetBases() {
	for _, b := range c.log.bases {
		if b != nil {
			b.Reset()
		}
	}
}

// attach subscribes to the log. Called once, by whoever created the channel.
func (c *Channel) attach(ctx context.Context) {
	defer close(c.attached)
	primes := c.delta.Enabled && c.hub.opt.History != nil
	c.log.Lock()
	c.log.priming = primes
	c.log.Unlock()
	c.attachment, c.err = c.hub.opt.Feed.Attach(ctx, c.app.ID, c.name, c)
	if c.err != nil {
		return
	}
	at := c.attachment.Position()
	c.log.Lock()
	if c.log.epoch == "" {
		c.log.epoch = at.Epoch
		c.log.salt = delta.Salt(c.app.ID, c.name, at.Epoch)
	}
	// If the log began a new life meanwhile, where the old one was says nothing.
	if c.log.epoch == at.Epoch {
		if c.log.count != nil {
			c.log.count.Attached(at.Offset)
		}
		for i := range c.shards {
			c.shards[i].begin(at)
		}
		c.recent.attach(at.Epoch, at.Offset)
	}
	c.log.Unlock()
	if c.caches {
		c.err = c.primeCache(ctx, at)
	}
	if c.err == nil {
		c.err = c.roll.Open(ctx)
	}
	if c.err != nil {
		c.attachment.Detach()
		return
	}
	// A gap may have ended priming already; the count is needed all the same.
	if primes {
		c.prime(ctx, at)
	}
}

// Publication implements [broker.Sink].
func (c *Channel) Publication(p *broker.Publication) {
	c.log.Lock()
	if c.log.priming {
		if len(c.log.early) < maxEarly {
			c.log.early = append(c.log.early, p)
			c.log.Unlock()
			return
		}
		c.endPriming()
	}
	job := c.prepare(p)
	c.countBases()
	c.log.Unlock()
	if job != nil {
		c.post(job)
	}
}

// Gap implements [broker.Sink].
func (c *Channel) Gap(g broker.Gap) {
	c.hub.opt.Metrics.gap(string(g.Reason))
	c.log.Lock()
	c.endPriming()
	c.enter(g.Resume.Epoch)
	if c.log.count != nil {
		c.log.count.Lost(g.Resume.Offset)
	}
	c.resetBases()
	c.countBases()
	c.recent.begin(g.Resume.Epoch, g.Resume.Offset)
	c.log.Unlock()
	c.post(&gap{g, resumeFailed(c.name, &g, c.hub.messageID())})
}

// post gives something to the shards that have subscribers.
func (c *Channel) post(p prepared) {
	for i := range c.shards {
		if s := &c.shards[i]; s.wants(p) {
			c.hub.shards[i].post(job{to: s, p: p})
		}
	}
}

// enter starts a new life of the log: no earlier base or number means anything.
func (c *Channel) enter(epoch string) {
	if epoch == c.log.epoch {
		return
	}
	if c.log.epoch != "" {
		c.recent.begin(epoch, 0)
	}
	c.log.epoch = epoch
	c.log.salt = delta.Salt(c.app.ID, c.name, epoch)
	c.log.number = 0
	c.resetBases()
	if c.log.count != nil {
		c.log.count.Begin(epoch)
	}
}

// prepare decides everything about a publication that does not depend on the
// socket. Given the same log and configuration every gateway decides alike.
// Returns nil for one that no socket gets.
func (c *Channel) prepare(pub *broker.Publication) *event {
	c.enter(pub.Epoch)
	shape := delta.Shape(0)
	if (c.delta.Enabled || pub.Origin == broker.OriginClient) && pub.Skipped == "" {
		shape = delta.ShapeOf(pub.Data)
	}
	p := &event{texts: &texts{channel: c, pub: pub, key: c.value(pub, shape)}}
	if pub.ExcludeSocket != "" {
		if excluded := c.hub.find(pub.ExcludeSocket); excluded != nil {
			p.exclude = excluded.sock
		}
	}
	p.embed = c.delta.Enabled && shape == delta.Structure
	p.raw = pub.Origin == broker.OriginClient && (shape == delta.Structure || shape == delta.Scalar)
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
	c.track(p, shape, full)
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
	shape := delta.ShapeOf(pub.Data)
	t := &texts{channel: c, pub: pub, key: c.value(pub, shape), embed: shape == delta.Structure}
	t.raw = pub.Origin == broker.OriginClient && (t.embed || shape == delta.Scalar)
	p := &event{texts: t}
	c.track(p, shape, full)
	if c.recent != nil {
		c.log.past = append(c.log.past, p)
	}
}

// track makes a publication a base, if it takes part in delta compression, and full says
// that the interval asks for the full frame.
func (c *Channel) track(p *event, shape delta.Shape, full bool) {
	if !c.delta.Enabled {
		return
	}
	if poisoned(p.pub) {
		c.resetBases()
		return
	}
	if !c.tracks(p.pub, shape, p.texts) {
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

// tracks says whether a publication takes part (protocol section 3.6).
func (c *Channel) tracks(pub *broker.Publication, shape delta.Shape, t *texts) bool {
	if pub.Delta == broker.DeltaNever || shape == delta.Empty || shape == delta.Scalar || len(pub.Data) > maxTracked {
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
	return c.value(pub, shape)
}

// value is the conflation value of a publication whose data has that shape.
func (c *Channel) value(pub *broker.Publication, shape delta.Shape) string {
	if !c.keyed {
		return ""
	}
	return count.Value(&pub.Event, shape, c.log.path)
}
