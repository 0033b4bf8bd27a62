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
	// feedPause is the time between looks whether the feed has brought what is counted.
	feedPause = 5 * time.Millisecond
)

// prime makes the bases and the count of a channel from its log. Nobody is
// subscribed yet. Publications that come meanwhile wait.
func (c *Channel) prime(ctx context.Context, at broker.Position) {
	ctx, cancel := context.WithTimeout(ctx, c.hub.opt.PrimeTimeout)
	defer cancel()
	if c.hub.cluster == nil {
		c.primeAlone(ctx, at)
		return
	}
	c.log.Lock()
	// The log may have begun a new life since the channel was attached.
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

// awaitFeed waits until the feed has brought what is counted already. Of what comes
// later than that nobody here knows the count, so the first subscriber waits.
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

// endPriming lets the publications through that have waited.
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

// reform puts the rules of the app in force between two publications, if they are others than
// before. Subscriptions keep the form that they have; what they hold is no base any more. The
// channel is counted anew, and publications wait for that as they do when it is attached. The
// channel is attached, and nobody else reforms it.
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
