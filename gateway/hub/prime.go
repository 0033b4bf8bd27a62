package hub

import (
	"context"
	"reflect"
	"time"

	"github.com/sluicehq/sluice/broker"
)

const (
	// pastBases is the number of publications from which bases are made.
	pastBases = 16
	// feedPause is the time between two checks whether the feed has reached the count.
	feedPause = 5 * time.Millisecond
)

// prime makes the bases and the count of a channel from its log. It is called before the channel has
// subscribers, or by reform. Publications wait meanwhile.
func (c *Channel) prime(ctx context.Context, at broker.Position) {
	ctx, cancel := context.WithTimeout(ctx, c.hub.opt.PrimeTimeout)
	defer cancel()
	if c.hub.cluster == nil {
		c.primeAlone(ctx, at)
		return
	}
	c.log.Lock()
	// The epoch may have changed since the channel was attached.
	lookUp := c.log.count.Join(c.log.epoch)
	c.log.Unlock()
	lookUp(ctx)
	c.awaitFeed(ctx)
	c.log.Lock()
	defer c.log.Unlock()
	c.endPriming()
}

// primeAlone is prime without a cluster: the last publications are enough.
func (c *Channel) primeAlone(ctx context.Context, at broker.Position) {
	var past []*broker.Publication
	if at.Offset > 0 && !c.wasEmpty() {
		page, err := c.hub.opt.History.Read(ctx, c.tenant.ID, c.Name, broker.Query{NewestFirst: true, To: at.Offset, Limit: pastBases, Bare: true})
		if err == nil {
			past = page.Publications
		}
	}
	c.log.Lock()
	defer c.log.Unlock()
	for i := range past {
		if p := past[len(past)-1-i]; p.Epoch == c.log.epoch {
			part, value := c.Part(p)
			c.Past(p, c.log.count.Past(p, part, value))
		}
	}
	c.endPriming()
}

// awaitFeed waits until the feed has reached the position of the count. This gateway does not know the count
// of the publications before that position, so the first subscriber waits.
func (c *Channel) awaitFeed(ctx context.Context) {
	for ctx.Err() == nil {
		c.log.Lock()
		wait := c.log.priming.Load() && c.log.count.Ahead(c.log.early.Reached())
		c.log.Unlock()
		if !wait || !c.hub.tasks.Pause(feedPause) {
			return
		}
	}
}

// endPriming prepares and posts the publications that have waited. The caller holds the lock of the log.
func (c *Channel) endPriming() {
	if !c.log.priming.Load() {
		return
	}
	defer c.log.priming.Store(false)
	c.log.reforming = false
	c.recent.Prime(c.log.past)
	c.log.past = nil
	for _, p := range c.log.early.Take() {
		if job := c.prepare(p); job != nil {
			c.Post(job)
		}
	}
	c.log.bases.Count()
}

// reform puts changed rules of the app in force between two publications. Subscriptions keep their form, but
// what they hold is no base any more. The count begins anew, and publications wait for it as they do when the
// channel is attached. The channel must be attached, and only one goroutine may reform it at a time.
func (c *Channel) reform() {
	next := c.rules()
	c.recent.Review()
	c.log.Lock()
	if reflect.DeepEqual(next, c.Rules()) {
		c.log.Unlock()
		return
	}
	c.endPriming()
	c.log.bases.Drop()
	if c.log.count != nil {
		c.log.count.Leave()
	}
	c.govern(next)
	c.log.bases.Begin(c.log.epoch)
	c.recent.Reform()
	at := broker.Position{Epoch: c.log.epoch, Offset: c.log.reached}
	if c.log.count != nil {
		c.log.count.Attached(at.Offset)
	}
	primes := next.Delta.Enabled && c.hub.opt.History != nil
	c.log.priming.Store(primes)
	c.log.reforming = primes
	c.log.Unlock()
	if primes {
		c.prime(c.hub.ctx, at)
	}
}
