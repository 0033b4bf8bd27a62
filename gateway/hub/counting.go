package hub

import (
	"encoding/json"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/gateway/count"
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
	// unsaved counts the publications since then; begun is the one with which the
	// count began that must be saved soon.
	unsaved int
	begun   uint64
	saving  bool
	// failed is when writing a checkpoint last failed, zero once it succeeded.
	failed time.Time
	// acquiring is set while the count is looked up; uncounted publications
	// wait for it, and the last checkpoint that was seen meanwhile.
	acquiring bool
	uncounted []uncounted
	pending   *count.Snapshot
	// alone is set when the cluster's count could not be had, since then.
	alone time.Time
	// states has the hash of the count after each of the last publications; next
	// is the oldest one once there are maxStates. Most channels have few.
	states []countState
	next   int
}

type uncounted struct {
	offset, prev uint64
	time         time.Time
	key          string
}

type countState struct{ offset, hash uint64 }

// maxStates bounds the places at which checkpoints of others are compared.
const maxStates = 256

// note keeps the state after a publication.
func (k *counting) note(s countState) {
	if len(k.states) < maxStates {
		k.states = append(k.states, s)
		return
	}
	k.states[k.next] = s
	k.next = (k.next + 1) % maxStates
}

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
	k.succeeded(c.hub)
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
			// Who has counted alone goes on until there is something better.
			return k.alone.IsZero() || iv.Step(p.Offset, p.Prev, p.Time, live, key)
		}
		c.countAlone()
	}
	return c.stepCounted(uncounted{p.Offset, p.Prev, p.Time, key}, live)
}

func (c *Channel) stepCounted(u uncounted, live bool) bool {
	k, iv := c.log.counting, c.log.interval
	last, _ := iv.Position()
	if live && u.offset > last && u.prev > last && k.alone.IsZero() {
		// The log was read from a replica that was behind: what it did not
		// have was not counted.
		if c.recount(anchorPause); k.acquiring {
			k.uncounted = append(k.uncounted, u)
			return true
		}
	}
	// Counts that begin must be known soon to those who will find nothing to
	// count from: the log was cut, or the checkpoint has expired, or there was
	// nothing yet.
	cleared := u.prev < last && live || iv.Idle(u.time)
	begins := cleared || k.saved == 0 || u.prev < k.saved && k.saved < u.offset
	full := iv.Step(u.offset, u.prev, u.time, live, u.key)
	if u.offset <= last {
		return full
	}
	if cleared {
		// What was counted before decides nothing any more.
		k.states, k.next = k.states[:0], 0
	}
	k.note(countState{u.offset, iv.Hash()})
	if !live {
		return full
	}
	k.unsaved++
	if begins {
		k.begun = u.offset
	}
	if begins || k.unsaved >= k.distance {
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
	k.states, k.next, k.unsaved, k.begun = k.states[:0], 0, 0, 0
	k.note(countState{found.state.Offset, c.log.interval.Hash()})
	k.known(found.saved, found.revision, c.hub.opt.Now().Add(-found.age))
	for _, p := range found.replay {
		// The feed brings the rest, and then it must be decided by the count.
		if p.Offset > c.log.place {
			break
		}
		c.fold(p)
		if p.Offset > k.saved {
			k.unsaved++
		}
	}
	waiting, pending := k.uncounted, k.pending
	k.uncounted, k.pending = nil, nil
	for _, u := range waiting {
		c.stepCounted(u, true)
	}
	if pending != nil && !k.acquiring {
		c.verify(*pending)
	}
}

// known notes a checkpoint that was written at a time.
func (k *counting) known(offset, revision uint64, written time.Time) {
	if revision <= k.revision {
		return
	}
	k.revision, k.saved, k.savedAt = revision, offset, written
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
	var s count.Snapshot
	if json.Unmarshal(e.Value, &s) != nil {
		return
	}
	c.log.Lock()
	defer c.log.Unlock()
	if c.log.counting != k || e.Revision <= k.revision {
		return
	}
	k.known(s.Offset, e.Revision, c.hub.opt.Now())
	if k.acquiring {
		k.pending = &s
		return
	}
	c.verify(s)
}

// silent reports whether nothing came for so long that the next publication finds no
// count, by this gateway's clock if it can.
func (c *Channel) silent() bool {
	if !c.log.heard.IsZero() {
		return c.hub.opt.Now().Sub(c.log.heard) > counterIdle
	}
	return c.log.interval.Idle(c.hub.opt.LogTime())
}

// verify compares a checkpoint with the count here.
func (c *Channel) verify(s count.Snapshot) {
	k, iv := c.log.counting, c.log.interval
	if s.Offset == 0 || s.N != max(c.delta.Interval, 1) || s.MaxKeys != max(c.delta.MaxKeys, 1) {
		return
	}
	for i := range k.states {
		have := &k.states[i]
		if have.offset != s.Offset {
			continue
		}
		theirs := c.newInterval()
		if theirs.Restore(s) != nil || theirs.Hash() == have.hash {
			return
		}
		if last, _ := iv.Position(); last == s.Offset && len(s.Values) == 0 && c.silent() {
			// The old checkpoint expired, and with it the count: the next
			// publication clears it here as well.
			_ = iv.Restore(s)
			have.hash = iv.Hash()
			return
		}
		c.hub.opt.Metrics.countDiverged()
		c.recount(0)
		return
	}
}
