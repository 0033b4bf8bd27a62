package hub

import (
	"context"
	"encoding/json"
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
	// maxReplay bounds the publications that are counted from the log.
	maxReplay = 10_000
	// anchorWait is how long a checkpoint that the log has outgrown is given
	// to be replaced by a gateway that counts.
	anchorWait = 400 * time.Millisecond
	// countingTimeout bounds one look at the checkpoints.
	countingTimeout = 5 * time.Second
	// recountInterval is the time between attempts to count with the cluster.
	recountInterval = 5 * time.Second
	// maxEarly bounds the publications that wait while a channel is primed.
	maxEarly = 1024
)

// errUnanchored: the log does not reach back to the checkpoint.
var errUnanchored = errors.New("the checkpoint is older than the log")

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
	c.coordinate(at.Epoch)
	k := c.log.counting
	k.acquiring = true
	c.log.Unlock()
	c.acquire(ctx, k)
	c.log.Lock()
	defer c.log.Unlock()
	c.endPriming()
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

// recount looks the count up again; publications go out in full until it is there.
func (c *Channel) recount() {
	k := c.log.counting
	if k.acquiring {
		return
	}
	k.acquiring = c.hub.background(func() {
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
	state    kv.Snapshot
	revision uint64
	replay   []*broker.Publication
}

// find reads the cluster's count, or founds it.
func (c *Channel) find(ctx context.Context, k *counting) (*found, error) {
	until := time.Now().Add(anchorWait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := c.hub.opt.Counters.Get(ctx, k.key)
		if errors.Is(err, kv.ErrNotFound) {
			// Nobody counts, or nobody can find what is counted from: all
			// begin at the end of the log. Only the write proves it.
			f, err := c.found(ctx, k, 0)
			if errors.Is(err, kv.ErrConflict) {
				continue
			}
			return f, err
		}
		if err != nil {
			return nil, err
		}
		f := &found{revision: e.Revision}
		err = errUnanchored
		// A checkpoint that makes no sense is replaced like one that is too old.
		if json.Unmarshal(e.Value, &f.state) == nil && c.newInterval().Restore(f.state) == nil {
			f.replay, err = c.after(ctx, f.state.Offset)
		}
		if err == nil && len(f.replay) == 0 {
			// The channel is empty. Whoever counts begins anew with its next
			// publication, which has no predecessor.
			f.state = c.newInterval().Snapshot()
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, errUnanchored) {
			return nil, err
		}
		if time.Now().Before(until) {
			if !c.hub.pause(anchorWait / 8) {
				return nil, context.Canceled
			}
			continue
		}
		if f, err = c.found(ctx, k, e.Revision); !errors.Is(err, kv.ErrConflict) {
			return f, err
		}
	}
}

// found begins a count at the end of the log, in place of the checkpoint with that
// revision, 0 for none.
func (c *Channel) found(ctx context.Context, k *counting, revision uint64) (*found, error) {
	page, err := c.hub.opt.History.Read(ctx, c.app.ID, c.name, broker.Query{NewestFirst: true, Limit: 1})
	if err != nil {
		return nil, err
	}
	f := &found{state: c.newInterval().Snapshot()}
	if len(page.Publications) > 0 {
		f.state.Offset, f.state.Time = page.Publications[0].Offset, page.Publications[0].Time
		// It is the only base that can be had.
		f.replay = page.Publications
	}
	f.revision, err = c.write(k.key, f.state, revision)
	return f, err
}

// after reads what the log has after a checkpoint, and proves that it is all. The
// publication of the checkpoint itself comes first.
func (c *Channel) after(ctx context.Context, offset uint64) ([]*broker.Publication, error) {
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

// sweepCounts writes checkpoints that have grown old and tries to count with the
// cluster again where that has failed.
func (c *Channel) sweepCounts(now time.Time) {
	c.log.Lock()
	defer c.log.Unlock()
	k := c.log.counting
	switch {
	case k == nil || k.acquiring:
	case !k.alone.IsZero():
		if now.Sub(k.alone) >= recountInterval {
			c.recount()
		}
	case k.unsaved > 0 && now.Sub(k.savedAt) >= CounterTTL/4:
		c.save()
	}
}

// Problems tells in sentences what does not work as it should.
func (h *Hub) Problems() []string {
	if h.alone.Load() == 0 {
		return nil
	}
	return []string{"full messages are counted by this gateway alone on some channels: the checkpoints of the cluster cannot be reached"}
}
