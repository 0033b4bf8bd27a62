package streams

import (
	"context"
	"strings"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// CounterTTL is the lifetime of a checkpoint of the counts of a channel.
const CounterTTL = 5 * time.Minute

// OpenCounters opens the bucket with the checkpoints of the full-message counters of all apps. It is closed with the log.
// Only the server may be permitted to publish to the subject on which its writes are republished, as to live subjects.
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

// bucketPrefix returns the prefix of the names of buckets.
func (o *Options) bucketPrefix() string { return strings.ToLower(strings.TrimSuffix(o.Prefix, ".")) }
