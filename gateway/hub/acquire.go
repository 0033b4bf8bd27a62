package hub

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

const (
	// primeTimeout bounds how long a subscription waits for the past of its
	// channel. It is a matter of compression, not of delivery.
	primeTimeout = time.Second
	// pastBases is the number of publications from which bases are made.
	pastBases = 16
	// maxReplay and maxReplayBytes bound the publications that are counted from the log,
	// all of which are held until they are.
	maxReplay      = 10_000
	maxReplayBytes = 16 << 20
	// anchorWait is how long a checkpoint that the log has outgrown is given
	// to be replaced by a gateway that counts.
	anchorWait = 400 * time.Millisecond
	// anchorPause is the time between looks at the log or the bucket while they
	// do not fit together.
	anchorPause = anchorWait / 8
	// countingTimeout bounds one look at the checkpoints.
	countingTimeout = 5 * time.Second
	// recountInterval is the time between attempts to count with the cluster.
	recountInterval = 5 * time.Second
	// maxEarly bounds the publications that wait while a channel is primed.
	maxEarly = 1024
)

var (
	// errUnanchored: the log does not reach back to the checkpoint.
	errUnanchored = errors.New("the checkpoint is older than the log")
	// errBehind: whoever answered has not caught up with what is known here.
	errBehind = errors.New("the replica that answered is behind")
)

// prime makes the bases and the count of a channel from its log. Nobody is
// subscribed yet. Publications that come meanwhile wait.
func (c *Channel) prime(ctx context.Context, at broker.Position) {
	ctx, cancel := context.WithTimeout(ctx, primeTimeout)
	defer cancel()
	if c.hub.opt.Counters == nil {
		var past []*broker.Publication
		nothing, ok := c.attachment.(broker.Emptiness)
		if at.Offset > 0 && !(ok && nothing.Empty()) {
			page, err := c.hub.opt.History.Read(ctx, c.app.ID, c.name, broker.Query{NewestFirst: true, To: at.Offset, Limit: pastBases})
			if err == nil {
				past = page.Publications
			}
		}
		c.log.Lock()
		defer c.log.Unlock()
		for i := range past {
			c.fold(past[len(past)-1-i])
		}
		c.endPriming()
		return
	}
	c.log.Lock()
	// The log may have begun a new life since the channel was attached.
	c.coordinate(c.log.epoch)
	k := c.log.counting
	k.acquiring = true
	c.log.Unlock()
	c.acquire(ctx, k)
	c.awaitFeed(ctx, k)
	c.log.Lock()
	defer c.log.Unlock()
	c.endPriming()
}

// awaitFeed waits until the feed has brought what is counted already. Of what comes
// later than that nobody here knows the count, so the first subscriber waits.
func (c *Channel) awaitFeed(ctx context.Context, k *counting) {
	for ctx.Err() == nil {
		c.log.Lock()
		counted, _ := c.log.interval.Position()
		brought := c.log.place
		if n := len(c.log.early); n > 0 {
			brought = c.log.early[n-1].Offset
		}
		wait := c.log.priming && c.log.counting == k && !k.acquiring && k.alone.IsZero() && brought < counted
		c.log.Unlock()
		if !wait || !c.hub.pause(anchorPause/10) {
			return
		}
	}
}

// fold takes a publication of the past into account.
func (c *Channel) fold(p *broker.Publication) {
	switch {
	case p.Epoch != c.log.epoch:
	case c.log.priming:
		c.prepare(p, false)
	case c.log.counting != nil:
		// Bases that are older than present ones would be out of order.
		c.stepCounted(uncounted{p.Offset, p.Prev, p.Time, c.keyOf(p)}, false)
	}
}

// endPriming lets the publications through that have waited.
func (c *Channel) endPriming() {
	if !c.log.priming {
		return
	}
	c.log.priming = false
	for _, p := range c.log.early {
		if job := c.prepare(p, true); job != nil {
			c.post(job)
		}
	}
	c.log.early = nil
	c.countBases()
}

// recount looks the count up again, after a pause; publications go out in full until it
// is there.
func (c *Channel) recount(after time.Duration) {
	k := c.log.counting
	if k.acquiring {
		return
	}
	k.acquiring = c.hub.background(func() {
		if after > 0 && !c.hub.pause(after) {
			return
		}
		// Many channels may have lost their counts at once.
		select {
		case c.hub.saves <- struct{}{}:
			defer func() { <-c.hub.saves }()
		case <-c.hub.ctx.Done():
		}
		ctx, cancel := c.hub.countingContext()
		defer cancel()
		c.acquire(ctx, k)
	})
}

// acquire looks up the count of the cluster.
func (c *Channel) acquire(ctx context.Context, k *counting) {
	c.log.Lock()
	following := k.stop != nil
	c.log.Unlock()
	var stop func()
	var err error
	if !following {
		stop, err = c.hub.opt.Counters.Follow(k.key, func(e kv.Entry) { c.observe(k, e) })
	}
	var f *found
	if err == nil {
		f, err = c.find(ctx, k)
	}
	c.log.Lock()
	defer c.log.Unlock()
	if c.log.counting != k {
		if stop != nil {
			stop()
		}
		return
	}
	if stop != nil {
		k.stop = stop
	}
	switch {
	case !k.acquiring:
	case err != nil:
		if c.hub.ctx.Err() == nil {
			c.hub.countingFailed(c, "looking up the count", err)
		}
		c.countAlone()
	default:
		c.acquired(f)
	}
}

// background runs f in a goroutine that Close waits for. It reports false when the
// hub is closing.
func (h *Hub) background(f func()) bool {
	h.taskMu.Lock()
	defer h.taskMu.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.tasks.Go(f)
	return true
}

// pause waits, and reports false when the hub is closing.
func (h *Hub) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-h.ctx.Done():
		return false
	}
}

func (h *Hub) countingContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.ctx, countingTimeout)
}

func (h *Hub) countingFailed(c *Channel, what string, err error) {
	h.opt.Metrics.countingFailed(c.app.ID)
	// It fails for all channels at a time; the metric has their number.
	h.refusals.Warn(h.opt.Logger, "counting", "full messages are not counted with the cluster; this gateway counts by itself",
		"app", c.app.ID, "channel", c.name, "while", what, "error", err)
}
