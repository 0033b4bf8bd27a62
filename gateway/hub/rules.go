package hub

import (
	"reflect"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/fanout"
)

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
		settings := count.Settings{Interval: r.Delta.Interval, MaxValues: r.Delta.MaxKeys, Retained: c.hub.opt.RetainedMessages}
		c.log.count = count.NewCounter(c.hub.cluster, c.tenant.ID, c.Name, settings, &c.log, c)
	}
}

// reform puts the rules of the app in force between two publications, if they are others than
// before. Subscriptions keep the form that they have; what they hold is no base any more. The
// channel is counted anew, and publications wait for that as they do when it is attached. The
// channel is attached, and nobody else reforms it.
func (c *Channel) reform() {
	next := c.rules()
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
	c.log.priming, c.log.reforming = primes, primes
	c.log.Unlock()
	if primes {
		c.prime(c.hub.ctx, at)
	}
}
