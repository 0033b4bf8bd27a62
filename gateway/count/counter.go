package count

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// Channel is the channel whose publications a [Counter] counts. Its lock guards the counter.
type Channel interface {
	// Part returns how a publication takes part, and its conflation value, which is empty in single-base
	// mode.
	Part(*broker.Publication) (Part, string)
	// Past is told of a publication of the past and how it was counted. It is called under the lock.
	Past(p *broker.Publication, full bool)
}

// Counter counts the publications of one channel. The caller of its methods holds the lock of the channel.
type Counter struct {
	m Machine
	// cluster is nil if the gateway counts alone.
	cluster   *Cluster
	lock      sync.Locker
	channel   Channel
	app, name string
	// life is nil until the count of the cluster is requested.
	life *life
	// told is what the cluster was told of the machine.
	told health
}

type health struct{ alone, unwritten bool }

// NewCounter returns a counter of a channel that has counted nothing. cluster is nil if the gateway counts
// alone.
func NewCounter(cluster *Cluster, app, name string, s Settings, lock sync.Locker, channel Channel) *Counter {
	return &Counter{m: *NewMachine(s), cluster: cluster, lock: lock, channel: channel, app: app, name: name}
}

// Publication counts a publication that the feed has brought, with its part and its conflation value, and
// reports whether it is sent in full.
func (c *Counter) Publication(p *broker.Publication, part Part, value string, now time.Time) (full bool) {
	if p.Verdict != broker.Uncounted {
		c.m.Arrived(p.Offset, now)
		return p.Verdict == broker.CountedFull
	}
	full, e := c.m.Publication(Publication{p.Offset, p.Prev, p.Time, value, part != Tracked}, now)
	if e != 0 || c.told.alone != (c.m.state == Alone) {
		c.act(e)
	}
	return full
}

// Past counts a publication that was read from the log. It is for counters without a cluster.
func (c *Counter) Past(p *broker.Publication, part Part, value string) (full bool) {
	if p.Verdict != broker.Uncounted {
		return p.Verdict == broker.CountedFull
	}
	return c.m.Past(Publication{p.Offset, p.Prev, p.Time, value, part != Tracked})
}

// Attached notes that the feed brings everything after an offset.
func (c *Counter) Attached(offset uint64) { c.m.brought = max(c.m.brought, offset) }

// Arrived returns when the last publication arrived.
func (c *Counter) Arrived() time.Time { return c.m.arrived }

// State returns how decisions are made at present.
func (c *Counter) State() State { return c.m.State() }

// Ahead is [Machine.Ahead].
func (c *Counter) Ahead(brought uint64) bool { return c.m.Ahead(brought) }

// Lost notes that the feed continues after an offset, and that earlier publications are missing.
func (c *Counter) Lost(offset uint64) { c.act(c.m.Lost(offset)) }

// Sweep does what is due at a time.
func (c *Counter) Sweep(now time.Time) { c.act(c.m.Tick(now)) }

// Join begins to count with the cluster in an epoch of the log. The returned function looks up the count and
// must be called without the lock. It returns when the count is known or not available.
func (c *Counter) Join(epoch string) func(context.Context) {
	c.begin(epoch)
	c.m.Join()
	return c.life.lookUp
}

// Begin begins a new epoch of the log.
func (c *Counter) Begin(epoch string) {
	if c.life != nil {
		c.life.end()
		c.begin(epoch)
	}
	c.act(c.m.Begin())
}

// Leave ends counting with the cluster.
func (c *Counter) Leave() {
	if c.life == nil {
		return
	}
	c.life.end()
	c.life = nil
	c.m.Leave()
	c.act(0)
}

func (c *Counter) begin(epoch string) {
	c.life = &life{Counter: c, epoch: epoch, key: name.Key(c.app) + "." + name.Key(c.name) + "." + epoch}
}

// act does what the machine requires.
func (c *Counter) act(e Effect) {
	if e&Contradicted != 0 {
		c.cluster.Contradicted()
	}
	if e&LookUp != 0 {
		c.life.lookUpAgain(0)
	}
	if e&LookUpSoon != 0 {
		c.life.lookUpAgain(anchorPause)
	}
	if e&Save != 0 {
		c.life.save()
	}
	if h := (health{c.m.state == Alone, c.m.Unwritten()}); h != c.told {
		c.cluster.alone.Add(change(c.told.alone, h.alone))
		c.cluster.unwritten.Add(change(c.told.unwritten, h.unwritten))
		c.told = h
	}
}

func change(was, is bool) int64 {
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

// life is what a counter does in one epoch of the log. An operation that it began may end after the epoch;
// its result is then ignored.
type life struct {
	*Counter
	epoch, key string
	// stop ends following the checkpoints; nil before that has begun.
	stop func()
}

// over reports whether the log has another epoch, or the channel is not counted any more.
func (l *life) over() bool { return l.Counter.life != l }

func (l *life) end() {
	if l.stop != nil {
		l.stop()
	}
}

// follow begins to follow the checkpoints. The caller does not hold the lock.
func (l *life) follow() error {
	l.lock.Lock()
	following := l.stop != nil
	l.lock.Unlock()
	if following {
		return nil
	}
	stop, err := l.cluster.Bucket.Follow(l.key, l.heard)
	if err != nil {
		return err
	}
	l.lock.Lock()
	if !l.over() {
		l.stop, stop = stop, nil
	}
	l.lock.Unlock()
	if stop != nil {
		stop()
	}
	return nil
}

// heard handles a checkpoint that was written. An invalid one is ignored. The caller does not hold the lock.
func (l *life) heard(e kv.Entry) {
	var s Snapshot
	if json.Unmarshal(e.Value, &s) != nil {
		return
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	if !l.over() {
		l.act(l.m.Heard(s, e.Revision, l.cluster.moment()))
	}
}

// failed reports that the bucket cannot be used, unless everything is ending.
func (l *life) failed(while string, err error) {
	if l.cluster.Done.Err() == nil {
		l.cluster.Failed(l.app, l.name, while, err)
	}
}
