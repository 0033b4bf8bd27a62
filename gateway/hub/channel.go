package hub

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Channel is one channel with subscribers on this gateway. The feed owns it:
// Publication and Gap are called by one goroutine at a time, in log order.
type Channel struct {
	*fanout.Line
	hub *Hub
	// tenant is the app as it was when the channel was made, see [Channel.rules].
	tenant *app.App
	// metrics are there once something was counted.
	metrics atomic.Pointer[channelMetrics]
	// recent is nil for channels that have no past.
	recent *past.Recent
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
		epoch string
		// count is nil if nothing is compressed.
		count *count.Counter
		bases fanout.Bases
		// priming is set while the past of the channel is read, and until the publications
		// that are early and wait for that have been posted. It is read without the lock, too.
		priming atomic.Bool
		early   fanout.Early
		// reforming: it is primed because its rules are others, and what its subscribers have
		// was made under those before.
		reforming bool
		// reached is the place of what was delivered last.
		reached uint64
		// forgotten is the place up to which nothing exists any more.
		forgotten uint64
		// past is what was read to prime it.
		past []*fanout.Event
	}
}

var _, _ = lives.Sink((*Channel)(nil)), broker.Prompt((*Channel)(nil))

func (h *Hub) newChannel(a *app.App, name string) *Channel {
	c := &Channel{
		Line: &fanout.Line{
			Hall: h.hall, App: a.ID, Name: name, Serials: a.HistoryEnabled || a.Recovery.Enabled,
			Shards: make([]fanout.Subscribers, len(h.hall.Shards)),
		},
		hub: h, tenant: a, attached: make(chan struct{}),
	}
	c.Line.Report = c.count
	c.log.early = h.hall.Early.Of(a.ID)
	c.roll = h.opt.Herald.Roll(h.opt.Roster, a, name, c.Line)
	c.Caches = pusher.KindOf(name).Cache() && h.opt.History != nil
	if c.recent = past.New(h.library, a, c.Line, c.life); c.recent != nil {
		c.Line.Past = c.recent
	}
	c.govern(c.rules())
	return c
}

// attach subscribes to the log. Called once, by whoever created the channel.
func (c *Channel) attach(ctx context.Context) {
	defer close(c.attached)
	primes := c.Rules().Delta.Enabled && c.hub.opt.History != nil
	c.log.Lock()
	c.log.priming.Store(primes)
	c.log.Unlock()
	c.attachment, c.err = c.hub.opt.Feed.Attach(ctx, c.tenant.ID, c.Name, c)
	if c.err != nil {
		c.dropBases()
		return
	}
	c.log.Lock()
	at := c.attachment.Position() // A life that ends from now on is told to the channel.
	if c.log.epoch == "" {
		c.log.epoch = at.Epoch
		c.log.bases.Begin(at.Epoch)
	}
	// If the log began a new life meanwhile, where the old one was says nothing.
	if c.log.epoch == at.Epoch {
		if c.log.count != nil {
			c.log.count.Attached(at.Offset)
		}
		for i := range c.Shards {
			c.Shards[i].Begin(at, c.wasEmpty())
		}
		c.recent.Attach(at.Epoch, at.Offset)
		c.log.reached = max(c.log.reached, at.Offset)
	}
	c.log.Unlock()
	if c.Caches {
		c.err = c.primeCache(ctx, at)
	}
	if c.err == nil {
		c.err = c.roll.Open(ctx)
	}
	if c.err != nil {
		c.attachment.Detach()
		c.dropBases() // of what came meanwhile nobody takes back what it counts in shared bounds
		return
	}
	// A gap may have ended priming already; the count is needed all the same.
	if primes {
		c.prime(ctx, at)
	}
}

// wasEmpty tells that the log had nothing when the channel was attached.
func (c *Channel) wasEmpty() bool {
	nothing, ok := c.attachment.(broker.Emptiness)
	return ok && nothing.Empty()
}

// Prompt implements [broker.Prompt]. Who primes the channel posts what was early under the lock.
func (c *Channel) Prompt() bool { return !c.log.priming.Load() && c.Line.Prompt() }

// Publication implements [broker.Sink].
func (c *Channel) Publication(p *broker.Publication) {
	c.log.Lock()
	if c.log.priming.Load() {
		if c.log.early.Add(p) {
			c.log.Unlock()
			return
		}
		c.endPriming()
	}
	job := c.prepare(p)
	c.log.bases.Count()
	c.log.Unlock()
	if job != nil {
		c.Post(job)
	}
}

// Gap implements [broker.Sink].
func (c *Channel) Gap(g broker.Gap) {
	c.hub.opt.Metrics.gap(string(g.Reason))
	c.log.Lock()
	c.endPriming()
	c.enter(g.Resume.Epoch, g.Resume.Offset)
	if c.log.count != nil {
		c.log.count.Lost(g.Resume.Offset)
	}
	c.log.bases.Drop()
	c.log.reached = g.Resume.Offset
	c.recent.Begin(g.Resume.Epoch, g.Resume.Offset)
	c.log.Unlock()
	c.Miss(g)
}

// Forget implements [lives.Sink]: the past of the channel was purged, or the channel was reset.
// Nothing of that may come back from memory. Subscribers notice nothing.
func (c *Channel) Forget(at broker.Position) {
	c.log.Lock()
	if c.log.epoch == "" && c.log.early.Len() == 0 {
		// It is not attached yet, and will be at a place that knows of it.
		c.log.Unlock()
		return
	}
	c.endPriming()
	c.enter(at.Epoch, c.recent.High())
	c.log.bases.Drop()
	c.log.forgotten = at.Offset
	c.recent.Erase(at.Epoch)
	c.log.Unlock()
	c.Erase(at)
}

// enter starts a new life of the log: no earlier base or number means anything. What is known
// of it begins behind place.
func (c *Channel) enter(epoch string, place uint64) {
	if epoch == c.log.epoch {
		return
	}
	if c.log.epoch != "" {
		c.recent.Begin(epoch, place)
	}
	c.log.epoch = epoch
	c.log.bases.Begin(epoch)
	c.log.forgotten = 0
	if c.log.count != nil {
		c.log.count.Begin(epoch)
	}
}

// drop removes a connection from a channel, of which it was a member if user is not
// empty.
func (c *Channel) drop(client *Client, user string) {
	if c.Shards[client.shard.ID].Drop(client.sock.Outbox()) {
		c.counted(-1)
	}
	if user != "" {
		c.roll.Leave(user)
	}
	c.hub.unref(c)
}

// put adds a subscription or changes it ([fanout.Subscribers.Put]), and counts it if it is new,
// which it can be the first time only. Its client may ask for the number as soon as it is greeted.
func (c *Channel) put(client *Client, e *fanout.Entry, first bool) (stale bool) {
	if first {
		c.roll.Expect(1)
	}
	isNew, stale := c.Shards[client.shard.ID].Put(e)
	switch {
	case isNew:
		c.counted(1)
	case first:
		c.roll.Expect(-1)
	}
	return stale
}

// counted notes that a subscription began (1) or ended (-1).
func (c *Channel) counted(change int) {
	c.roll.Count(change)
	c.hub.opt.Metrics.subscriptions(c.tenant.ID, change)
}

// detach ends a channel that nobody uses any more.
func (c *Channel) detach() {
	if c.attachment != nil {
		c.attachment.Detach()
	}
	c.roll.Close()
	c.dropBases()
}

// life is the present life of the channel's log.
func (c *Channel) life() string {
	c.log.Lock()
	defer c.log.Unlock()
	return c.log.epoch
}

// rules are those that the app has for the channel now.
func (c *Channel) rules() *fanout.Rules {
	r, err := fanout.RulesOf(c.tenant.Now(), c.Name, c.hub.opt.DeltaEnabled)
	if err != nil {
		c.hub.opt.Logger.Error("conflation path refused; channel runs without one", "app", c.tenant.ID, "path", r.Delta.Path, "error", err)
	}
	return r
}

// govern puts rules in force. The caller has the lock of the log, or the channel to himself.
func (c *Channel) govern(r *fanout.Rules) {
	c.Govern(r)
	c.log.bases = fanout.NewBases(c.Line)
	if c.log.count = nil; r.Delta.Enabled {
		settings := count.Settings{Interval: r.Delta.Interval, MaxValues: r.Delta.MaxKeys, Retained: r.Retained}
		c.log.count = count.NewCounter(c.hub.cluster, c.tenant.ID, c.Name, settings, &c.log, c)
	}
}
