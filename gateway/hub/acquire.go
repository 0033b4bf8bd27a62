package hub

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
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
	// maxReplay bounds the publications that are counted from the log.
	maxReplay = 10_000
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
		if at.Offset > 0 {
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

// found is a count with what must be counted after it.
type found struct {
	state kv.Snapshot
	// saved is the place of the checkpoint, revision its revision and age the
	// time since it was written.
	saved, revision uint64
	age             time.Duration
	replay          []*broker.Publication
}

// find reads the cluster's count, or founds it.
func (c *Channel) find(ctx context.Context, k *counting) (*found, error) {
	until := time.Now().Add(anchorWait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		patient := time.Now().Before(until)
		f, err := c.findOnce(ctx, k, patient)
		wait := anchorPause
		switch {
		case errors.Is(err, kv.ErrConflict):
			// Somebody was quicker, and is not to be pressed.
			wait = rand.N(anchorPause) / 4
		case patient && (errors.Is(err, errUnanchored) || errors.Is(err, errBehind)):
		default:
			return f, err
		}
		if !c.hub.pause(wait) {
			return nil, context.Canceled
		}
	}
}

// findOnce is one attempt to find the count. Patient, it leaves a checkpoint that does not
// fit the log to those who count.
func (c *Channel) findOnce(ctx context.Context, k *counting, patient bool) (*found, error) {
	c.log.Lock()
	place, revision := c.log.place, k.revision
	c.log.Unlock()
	e, err := c.hub.opt.Counters.Get(ctx, k.key)
	if errors.Is(err, kv.ErrNotFound) {
		// Nobody counts, or nobody can find what is counted from: all begin at
		// the end of the log. Only the write proves it.
		return c.found(ctx, k, 0, place)
	}
	if err != nil {
		return nil, err
	}
	if patient && e.Revision < revision {
		return nil, errBehind
	}
	f := &found{revision: e.Revision, age: min(max(c.hub.opt.Now().Sub(e.Time), 0), CounterTTL)}
	err = errUnanchored
	// A checkpoint that makes no sense is replaced like one that is too old.
	if json.Unmarshal(e.Value, &f.state) == nil && c.newInterval().Restore(f.state) == nil {
		f.saved = f.state.Offset
		f.replay, err = c.after(ctx, f.state.Offset, place)
	}
	switch {
	case err == nil && len(f.replay) == 0:
		// The channel is empty. Whoever counts begins anew with its next
		// publication, which has no predecessor.
		f.state = c.newInterval().Snapshot()
	case !patient && errors.Is(err, errUnanchored):
		return c.found(ctx, k, e.Revision, place)
	}
	return f, err
}

// found begins a count at the end of the log as far as the feed has brought it, in
// place of the checkpoint with that revision, 0 for none. Who counts already may have
// begun anew after a silence, so what came after one is counted.
func (c *Channel) found(ctx context.Context, k *counting, revision, place uint64) (*found, error) {
	f := &found{state: c.newInterval().Snapshot()}
	if place > 0 {
		page, err := c.hub.opt.History.Read(ctx, c.app.ID, c.name, broker.Query{NewestFirst: true, To: place, Limit: pastBases})
		if err != nil {
			return nil, err
		}
		past := page.Publications
		if len(past) > 0 && past[0].Offset < place {
			return nil, errBehind
		}
		for i := range past {
			f.replay = append(f.replay, past[len(past)-1-i])
		}
		if at := begin(past[:min(len(past), k.distance)], page.More); at != nil {
			f.state.Offset, f.state.Time = at.Offset, at.Time
		}
	}
	f.saved = f.state.Offset
	var err error
	f.revision, err = c.write(k.key, f.state, revision)
	return f, err
}

// begin returns the publication after which a count begins that nobody has saved: the
// one before a silence, or the newest. If the log is short, that is before the first
// one, which is nil. The publications are the last ones, newest first.
func begin(past []*broker.Publication, more bool) *broker.Publication {
	for i := 1; i < len(past); i++ {
		if past[i-1].Time.Sub(past[i].Time).Abs() > counterIdle {
			return past[i]
		}
	}
	if len(past) == 0 || !more && len(past) < pastBases {
		return nil
	}
	return past[0]
}

// after reads what the log has after a checkpoint, and proves that it is all. The
// publication of the checkpoint itself comes first. The feed has brought everything up
// to place.
func (c *Channel) after(ctx context.Context, offset, place uint64) ([]*broker.Publication, error) {
	var all []*broker.Publication
	q := broker.Query{From: offset, Limit: 1000}
	for {
		page, err := c.hub.opt.History.Read(ctx, c.app.ID, c.name, q)
		if err != nil {
			return nil, err
		}
		if len(all)+len(page.Publications) == 0 && page.Retained.Newest > 0 {
			return nil, errUnanchored // the checkpoint is ahead of the log
		}
		all = append(all, page.Publications...)
		if !page.More || len(page.Publications) == 0 {
			break
		}
		if len(all) > maxReplay {
			return nil, errUnanchored
		}
		q.From = all[len(all)-1].Offset + 1
	}
	if len(all) == 0 {
		return nil, nil
	}
	most := c.hub.opt.RetainedMessages
	if offset > 0 && all[0].Offset != offset || offset == 0 && most > 0 && len(all) >= most {
		return nil, errUnanchored
	}
	if all[len(all)-1].Offset < place {
		return nil, errBehind
	}
	return all, nil
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
	now := h.opt.Now().UnixNano()
	last := h.countingWarned.Load()
	if now-last < int64(time.Minute) || !h.countingWarned.CompareAndSwap(last, now) {
		return
	}
	h.opt.Logger.Warn("full messages are not counted with the cluster; this gateway counts by itself",
		"app", c.app.ID, "channel", c.name, "while", what, "error", err)
}
