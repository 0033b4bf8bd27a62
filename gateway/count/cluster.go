package count

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

const (
	// bucketTimeout bounds one operation on the checkpoints.
	bucketTimeout = 5 * time.Second
	// maxTasks bounds how many checkpoints are written, and counts looked up again, at a time.
	maxTasks = 256
)

// Options of a [Cluster]. All are required.
type Options struct {
	// Bucket has the checkpoints, which live for [TTL].
	Bucket  kv.Followed
	History broker.History
	// Done ends all background work. Go runs a function in the background, and reports false if everything is
	// ending.
	Done context.Context
	Go   func(func()) bool
	// Now is the clock, LogTime that of the log.
	Now, LogTime func() time.Time
	// Failed is called when checkpoints of a channel cannot be read or written; if they cannot be read, the
	// gateway counts alone. Contradicted is called when a checkpoint contradicts the count here. Both may be
	// called with the lock of a channel and must not block.
	Failed       func(app, channel, while string, err error)
	Contradicted func()
}

// Cluster is what the counters of one gateway share.
type Cluster struct {
	Options
	tasks chan struct{}
	// alone and unwritten are the numbers of channels whose count is not available, and of those whose
	// checkpoints cannot be written.
	alone, unwritten atomic.Int64
}

// NewCluster returns a cluster, which ends with [Options.Done].
func NewCluster(o Options) *Cluster {
	return &Cluster{Options: o, tasks: make(chan struct{}, maxTasks)}
}

// Problems returns sentences that say what does not work as it should.
func (c *Cluster) Problems() (out []string) {
	if c.alone.Load() > 0 {
		out = append(out, "full messages are counted by this gateway alone on some channels: the checkpoints of the cluster cannot be reached")
	}
	if c.unwritten.Load() > 0 {
		out = append(out, "checkpoints of the counts of full messages cannot be written: gateways that begin to serve a channel will count alone")
	}
	return out
}

func (c *Cluster) moment() Moment { return Moment{c.Now(), c.LogTime()} }

// pause waits, and reports false if everything is ending.
func (c *Cluster) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.Done.Done():
		return false
	}
}

func (c *Cluster) timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Done, bucketTimeout)
}

func (c *Cluster) write(key string, s Snapshot, revision uint64) (uint64, error) {
	value, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	ctx, cancel := c.timeout()
	defer cancel()
	if revision == 0 {
		return c.Bucket.Create(ctx, key, value)
	}
	return c.Bucket.Update(ctx, key, value, revision)
}
