package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/kv"
)

// openBucket tries until the start-up deadline. From then on a bucket that vanishes is
// made anew.
func (l *Log) openBucket(ctx context.Context, o kv.BucketOptions) (*kv.Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opt.StartTimeout)
	defer cancel()
	var b *kv.Bucket
	err := attempt(ctx, func(ctx context.Context) (err error) {
		b, err = kv.OpenBucket(ctx, l.js, o)
		return err
	})
	if err == nil {
		l.mu.Lock()
		l.buckets = append(l.buckets, o)
		l.mu.Unlock()
	}
	return b, err
}

// checkBuckets makes buckets anew that somebody deleted. What was in them is gone, and
// whoever follows a table is told to compare.
func (l *Log) checkBuckets() {
	l.mu.Lock()
	buckets := l.buckets
	l.mu.Unlock()
	for _, o := range buckets {
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		_, err := l.js.Stream(ctx, "KV_"+o.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if _, err = kv.OpenBucket(ctx, l.js, o); err == nil {
				l.opt.Logger.Warn("a bucket was gone and is made anew", "bucket", o.Name)
				l.tablesLost()
			}
		}
		cancel()
		if l.ctx.Err() != nil {
			return
		}
		l.problem("bucket "+o.Name, err)
	}
}
