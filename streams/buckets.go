package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/kv"
)

// openBucket opens a bucket, and retries until the start-up deadline. From then on, the bucket is created again if it
// vanishes.
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
	return b, wayOut(err)
}

// checkBuckets creates deleted buckets again and puts back changed settings. The content of a deleted bucket is lost, so the
// followers of tables are told to compare.
func (l *Log) checkBuckets() {
	l.mu.Lock()
	buckets, works := l.buckets, l.works
	l.mu.Unlock()
	for _, o := range buckets {
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		changed, err := kv.MendBucket(ctx, l.js, o)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if _, err = kv.OpenBucket(ctx, l.js, o); err == nil {
				l.opt.Logger.Warn("a bucket was gone and is made anew", "bucket", o.Name)
				l.tables.Sound()
			}
		}
		cancel()
		if l.ctx.Err() != nil {
			return
		}
		if changed != "" {
			l.noteMended("KV_"+o.Name, changed)
			l.tables.Sound()
		}
		l.problem("bucket "+o.Name, wayOut(err))
	}
	for _, w := range works {
		w.check()
	}
}

// wayOut adds the way out to an error about a bucket that is not ours.
func wayOut(err error) error {
	if errors.Is(err, kv.ErrBucketDiffers) {
		return fmt.Errorf("%w; %w", err, errFinal)
	}
	return err
}
