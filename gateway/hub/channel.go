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

// Channel is a channel with subscribers on this gateway. The feed owns it: Publication and Gap are called by
// one goroutine at a time, in log order.
type Channel struct {
	*fanout.Line
	hub *Hub
	// tenant is the app as it was when the channel was created, see [Channel.rules].
	tenant *app.App
	// metrics is nil until something of the channel is counted.
	metrics atomic.Pointer[channelMetrics]
	// recent is nil for channels that have no past.
	recent *past.Recent
	roll   *herald.Roll

	// attached is closed when attaching has ended; err is set before that if it failed.
	attached   chan struct{}
	attachment broker.Attachment
	err        error

	// The lock of the hub guards refs and idleSince.
	refs      int
	idleSince time.Time

	// log is the state that follows the log. Its lock is held by the feed, by priming and by changes of the
	// rules.
	log struct {
		rank.Mutex[rank.Channel]
		epoch string
		// count is nil if the channel has no delta compression.
		count *count.Counter
		bases fanout.Bases
		// priming is set while the past of the channel is read, until the publications that waited for this
		// in early have been posted. It is also read without the lock.
		priming atomic.Bool
		early   fanout.Early
		// reforming: the channel is primed because its rules have changed. Its subscribers hold frames that
		// were made under the previous rules.
		reforming bool
		// reached is the offset of the last publication that was delivered.
		reached uint64
		// forgotten is the offset up to which the channel was purged.
		forgotten uint64
		// past holds the publications that were read to prime the channel.
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

// attach subscribes to the log. The creator of the channel calls it once.
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
	at := c.attachment.Position() // if this epoch ends from now on, the feed tells the channel
	if c.log.epoch == "" {
		c.log.epoch = at.Epoch
		c.log.bases.Begin(at.Epoch)
	}
	// If the epoch changed meanwhile, the position in the old one means nothing.
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
		c.dropBases() // releases what early publications have reserved of shared bounds
		return
	}
	// A gap may have ended priming already; the count is needed all the same.
	if primes {
		c.prime(ctx, at)
	}
}

// wasEmpty reports whether the log had nothing of the channel when the channel was attached.
func (c *Channel) wasEmpty() bool {
	nothing, ok := c.attachment.(broker.Emptiness)
	return ok && nothing.Empty()
}

// Prompt implements [broker.Prompt]. While the channel is primed, it is false: early publications are posted
// under the lock.
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

// Forget implements [lives.Sink]: the channel was purged or reset. Nothing before that may come back from
// memory. Subscribers notice nothing.
func (c *Channel) Forget(at broker.Position) {
	c.log.Lock()
	if c.log.epoch == "" && c.log.early.Len() == 0 {
		// The channel is not attached yet. The position that it will be attached at takes the purge into
		// account.
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

// enter begins a new epoch of the log, in which no earlier base or number is valid. What is known of the
// epoch begins after place. The caller holds the lock of the log.
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

// drop removes a connection from a channel. If user is not empty, the connection was this member of the
// channel.
func (c *Channel) drop(client *Client, user string) {
	if c.Shards[client.shard.ID].Drop(client.sock.Outbox()) {
		c.counted(-1)
	}
	if user != "" {
		c.roll.Leave(user)
	}
	c.hub.unref(c)
}

// put adds a subscription or changes it ([fanout.Subscribers.Put]), and counts a new one. first says that it
// may be new. A new one is counted before its success frame, because its client may then query the number at
// once.
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

// detach ends a channel that has no users any more.
func (c *Channel) detach() {
	if c.attachment != nil {
		c.attachment.Detach()
	}
	c.roll.Close()
	c.dropBases()
}

// life returns the present epoch of the channel's log.
func (c *Channel) life() string {
	c.log.Lock()
	defer c.log.Unlock()
	return c.log.epoch
}

// rules returns the present rules of the app for the channel.
func (c *Channel) rules() *fanout.Rules {
	r, err := fanout.RulesOf(c.tenant.Now(), c.Name, c.hub.opt.DeltaEnabled)
	if err != nil {
		c.hub.opt.Logger.Error("conflation path refused; channel runs without one", "app", c.tenant.ID, "path", r.Delta.Path, "error", err)
	}
	return r
}

// govern puts rules in force. The caller holds the lock of the log, or is the only one that has the channel.
func (c *Channel) govern(r *fanout.Rules) {
	c.Govern(r)
	c.log.bases = fanout.NewBases(c.Line)
	if c.log.count = nil; r.Delta.Enabled {
		settings := count.Settings{Interval: r.Delta.Interval, MaxValues: r.Delta.MaxKeys, Retained: r.Retained}
		c.log.count = count.NewCounter(c.hub.cluster, c.tenant.ID, c.Name, settings, &c.log, c)
	}
}
