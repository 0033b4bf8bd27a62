package streams

import (
	"context"
	"strings"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// CounterTTL is how long a checkpoint of a channel's counts lives after it was
// written.
const CounterTTL = 5 * time.Minute

// OpenCounters opens the bucket with the checkpoints of the full-message counters
// of all apps. It ends with the log. The subject on which it repeats its writes,
// like the live subjects, must be writable by the server alone.
func (l *Log) OpenCounters(ctx context.Context) (*kv.Bucket, error) {
	return l.openBucket(ctx, l.opt.countersBucket())
}

func (o *Options) countersBucket() kv.BucketOptions {
	return kv.BucketOptions{
		Name:      o.bucketPrefix() + "counters",
		TTL:       CounterTTL,
		Replicas:  o.Replicas,
		Republish: o.Prefix + "rtctr.>",
	}
}

// bucketPrefix begins the names of buckets.
func (o *Options) bucketPrefix() string { return strings.ToLower(strings.TrimSuffix(o.Prefix, ".")) }
