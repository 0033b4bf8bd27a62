package hub

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/kv"
)

// save writes a checkpoint soon.
func (c *Channel) save() {
	k := c.log.counting
	if k.saving || k.acquiring || !k.alone.IsZero() || c.hub.opt.Now().Sub(k.failed) < recountInterval {
		return
	}
	select {
	case c.hub.saves <- struct{}{}:
	default:
		return // the next publication tries again
	}
	k.saving = c.hub.background(func() {
		defer func() { <-c.hub.saves }()
		if c.hub.pause(rand.N(saveSpread)) {
			c.checkpoint(k)
		}
	})
	if !k.saving {
		<-c.hub.saves
	}
}

// checkpoint writes the present count, unless somebody else has written one meanwhile
// that will do.
func (c *Channel) checkpoint(k *counting) {
	failed := false
	for range 4 {
		c.log.Lock()
		s := c.log.interval.Snapshot()
		needed := k.saved < s.Offset && k.due(c.hub.opt.Now())
		if c.log.counting != k || k.acquiring || !needed {
			k.saving = false
			if !needed {
				k.succeeded(c.hub)
			}
			c.log.Unlock()
			return
		}
		revision := k.revision
		c.log.Unlock()
		next, err := c.write(k.key, s, revision)
		switch {
		case err == nil:
			c.log.Lock()
			k.known(s.Offset, next, c.hub.opt.Now())
			k.saving = false
			k.succeeded(c.hub)
			c.log.Unlock()
			return
		case errors.Is(err, kv.ErrConflict):
			if err = c.look(k, revision); err == nil {
				continue
			}
		}
		if c.hub.ctx.Err() == nil {
			c.hub.countingFailed(c, "writing a checkpoint", err)
			failed = true
		}
		break
	}
	c.log.Lock()
	defer c.log.Unlock()
	k.saving = false
	if failed && c.log.counting == k {
		if k.failed.IsZero() {
			c.hub.unwritten.Add(1)
		}
		k.failed = c.hub.opt.Now()
	}
}

// succeeded notes that checkpoints can be written, or that nobody needs them.
func (k *counting) succeeded(h *Hub) {
	if !k.failed.IsZero() {
		h.unwritten.Add(-1)
		k.failed = time.Time{}
	}
}

// due reports whether the last checkpoint is so old, in publications or in time, that
// a newcomer might soon find nothing to count from.
func (k *counting) due(now time.Time) bool {
	return k.unsaved >= k.distance || k.saved < k.begun || k.unsaved > 0 && now.Sub(k.savedAt) >= CounterTTL/4
}

// look reads the checkpoint that stood in the way of ours, which was meant for a
// revision.
func (c *Channel) look(k *counting, revision uint64) error {
	c.log.Lock()
	heard := k.revision > revision
	c.log.Unlock()
	if heard {
		return nil
	}
	ctx, cancel := c.hub.countingContext()
	defer cancel()
	e, err := c.hub.opt.Counters.Get(ctx, k.key)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		c.log.Lock()
		k.revision, k.saved = 0, 0
		c.log.Unlock()
		return nil
	case err != nil:
		return err
	}
	c.log.Lock()
	if k.revision == revision && e.Revision < revision {
		// Either this was read from a replica that is behind, and the next
		// attempt fails like the last one, or the bucket was made anew.
		k.revision = 0
	}
	c.log.Unlock()
	c.observe(k, e)
	return nil
}

func (c *Channel) write(key string, s count.Snapshot, revision uint64) (uint64, error) {
	value, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	ctx, cancel := c.hub.countingContext()
	defer cancel()
	if revision == 0 {
		return c.hub.opt.Counters.Create(ctx, key, value)
	}
	return c.hub.opt.Counters.Update(ctx, key, value, revision)
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
			c.recount(0)
		}
	case k.due(now) || !k.failed.IsZero():
		c.save()
	}
}

// Problems tells in sentences what does not work as it should.
func (h *Hub) Problems() []string {
	out := h.lacking()
	if h.alone.Load() > 0 {
		out = append(out, "full messages are counted by this gateway alone on some channels: the checkpoints of the cluster cannot be reached")
	}
	if h.unwritten.Load() > 0 {
		out = append(out, "checkpoints of the counts of full messages cannot be written: gateways that begin to serve a channel will count alone")
	}
	return out
}
