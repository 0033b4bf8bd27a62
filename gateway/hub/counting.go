package hub

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

const (
	// CounterTTL is how long the checkpoints in [Options.Counters] must live.
	CounterTTL = 5 * time.Minute
	// counterIdle is the silence after which all counts of a channel start
	// again: half of the time that a checkpoint lives, so that nobody counts on
	// from what a newcomer cannot find any more.
	counterIdle = CounterTTL / 2
	// minCheckpoint is the least number of publications between checkpoints.
	minCheckpoint = 20
	// saveSpread is within which gateways that count the same wait at random
	// before they write, so that one of them does it for all.
	saveSpread = 40 * time.Millisecond
	// maxSaves bounds the checkpoints that are written at a time.
	maxSaves = 256
	// maxUncounted bounds the publications that wait while a count is looked
	// up. Beyond it the gateway counts by itself.
	maxUncounted = 8192
)

// counting keeps the interval counter of one channel in step with other gateways:
// it derives the count from the log, begins from a checkpoint of the cluster and
// writes checkpoints for those that come later. Everything belongs to the lock of
// the channel's log. Its decisions wait for nothing; while the count is being
// looked up, every publication goes out in full.
type counting struct {
	epoch, key string
	// stop ends following the checkpoints; nil before it has begun.
	stop func()
	// distance is the number of publications between checkpoints.
	distance int

	// revision and saved are those of the last known checkpoint.
	revision uint64
	saved    uint64
	savedAt  time.Time
	// unsaved counts the publications since then.
	unsaved int
	saving  bool
	// acquiring is set while the count is looked up; uncounted publications
	// wait for it.
	acquiring bool
	uncounted []uncounted
	// alone is set when the cluster's count could not be had, since then.
	alone time.Time
	// states has the hash of the count after each of the last publications.
	states [256]countState
	next   uint8
}

type uncounted struct {
	offset, prev uint64
	time         time.Time
	key          string
}

type countState struct{ offset, hash uint64 }

// coordinate makes a channel count with the cluster.
func (c *Channel) coordinate(epoch string) {
	k := &counting{
		epoch:    epoch,
		key:      name.Key(c.app.ID) + "." + name.Key(c.name) + "." + epoch,
		distance: max(c.delta.Interval, minCheckpoint),
	}
	if most := c.hub.opt.RetainedMessages; most > 0 {
		k.distance = max(1, min(k.distance, most/4))
	}
	c.log.counting = k
}

// uncoordinate ends counting with the cluster.
func (c *Channel) uncoordinate() {
	k := c.log.counting
	if k == nil {
		return
	}
	if k.stop != nil {
		k.stop()
	}
	if !k.alone.IsZero() {
		c.hub.alone.Add(-1)
	}
	c.log.counting = nil
}

// step counts a publication and tells whether it goes out in full.
func (c *Channel) step(p *broker.Publication, key string, live bool) bool {
	if p.Verdict != broker.Uncounted {
		return p.Verdict == broker.CountedFull
	}
	k, iv := c.log.counting, c.log.interval
	if k == nil {
		return iv.Step(p.Offset, p.Prev, p.Time, live, key)
	}
	if k.acquiring && live {
		if len(k.uncounted) < maxUncounted {
			k.uncounted = append(k.uncounted, uncounted{p.Offset, p.Prev, p.Time, key})
			return true
		}
		c.countAlone()
	}
	return c.stepCounted(uncounted{p.Offset, p.Prev, p.Time, key}, live)
}

func (c *Channel) stepCounted(u uncounted, live bool) bool {
	k, iv := c.log.counting, c.log.interval
	last, _ := iv.Position()
	full := iv.Step(u.offset, u.prev, u.time, live, u.key)
	if u.offset <= last {
		return full
	}
	k.states[k.next] = countState{u.offset, iv.Hash()}
	k.next++
	if !live {
		return full
	}
	k.unsaved++
	// Counts that were cleared because the log was cut must be known soon to
	// those who will find nothing to count from.
	if cut := u.prev < last; cut || k.unsaved >= k.distance {
		c.save()
	}
	return full
}

// countAlone gives up waiting for the cluster's count.
func (c *Channel) countAlone() {
	k := c.log.counting
	k.acquiring = false
	if k.alone.IsZero() {
		c.hub.alone.Add(1)
	}
	k.alone = c.hub.opt.Now()
	waiting := k.uncounted
	k.uncounted = nil
	for _, u := range waiting {
		c.stepCounted(u, true)
	}
}

// acquired puts what was found in place of the present count.
func (c *Channel) acquired(found *found) {
	k := c.log.counting
	if err := c.log.interval.Restore(found.state); err != nil {
		c.countAlone()
		return
	}
	if !k.alone.IsZero() {
		c.hub.alone.Add(-1)
	}
	k.acquiring, k.alone = false, time.Time{}
	k.states, k.next, k.unsaved = [256]countState{}, 0, 0
	k.known(found.state.Offset, found.revision, c.hub.opt.Now())
	for _, p := range found.replay {
		c.fold(p)
	}
	waiting := k.uncounted
	k.uncounted = nil
	for _, u := range waiting {
		c.stepCounted(u, true)
	}
}

// known notes a checkpoint.
func (k *counting) known(offset, revision uint64, now time.Time) {
	if revision <= k.revision {
		return
	}
	k.revision, k.saved, k.savedAt = revision, offset, now
	k.unsaved = 0
	for _, s := range k.states {
		if s.offset > offset {
			k.unsaved++
		}
	}
}

// observe takes a checkpoint that somebody wrote. One that contradicts the count
// here is taken as the truth.
func (c *Channel) observe(k *counting, e kv.Entry) {
	var s kv.Snapshot
	if json.Unmarshal(e.Value, &s) != nil {
		return
	}
	c.log.Lock()
	defer c.log.Unlock()
	if c.log.counting != k || e.Revision <= k.revision {
		return
	}
	k.known(s.Offset, e.Revision, c.hub.opt.Now())
	if k.acquiring || s.N != max(c.delta.Interval, 1) || s.MaxKeys != max(c.delta.MaxKeys, 1) {
		return
	}
	for _, have := range k.states {
		if have.offset != s.Offset || s.Offset == 0 {
			continue
		}
		theirs := c.newInterval()
		if theirs.Restore(s) == nil && theirs.Hash() != have.hash {
			c.hub.opt.Metrics.countDiverged()
			c.recount()
		}
		return
	}
}

// save writes a checkpoint soon.
func (c *Channel) save() {
	k := c.log.counting
	if k.saving || k.acquiring {
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

// checkpoint writes the present count unless a newer one is there.
func (c *Channel) checkpoint(k *counting) {
	for range 4 {
		c.log.Lock()
		s := c.log.interval.Snapshot()
		if c.log.counting != k || k.acquiring || k.saved >= s.Offset {
			k.saving = false
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
			c.log.Unlock()
			return
		case errors.Is(err, kv.ErrConflict):
			if err = c.look(k); err == nil {
				continue
			}
		}
		if c.hub.ctx.Err() == nil {
			c.hub.countingFailed(c, "writing a checkpoint", err)
		}
		break
	}
	c.log.Lock()
	k.saving = false
	c.log.Unlock()
}

// look reads the checkpoint that stood in the way of ours.
func (c *Channel) look(k *counting) error {
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
	c.observe(k, e)
	return nil
}

func (c *Channel) write(key string, s kv.Snapshot, revision uint64) (uint64, error) {
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
