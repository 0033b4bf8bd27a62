package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// workLease is the lifetime of the lease of a queue. The taker renews it three times in that time.
const workLease = 10 * time.Second

// releaseTime bounds the write that gives a lease up.
const releaseTime = time.Second

// freed is the value of a lease that was given up.
const freed = "free"

// lease is the right to take from a queue.
type lease struct {
	table kv.Table
	ttl   time.Duration
	key   string
	// holder identifies this taker among all takers, including those of the same process.
	holder   string
	revision uint64
	// since is when the last successful renewal was begun.
	since time.Time
}

func (w *Work) leaseOf(queue string) *lease {
	return &lease{table: w.table, ttl: w.lease, key: "work." + name.Key(queue), holder: w.node + " " + nuid.Next()}
}

// acquire waits until the lease is free, and takes it.
func (l *lease) acquire(ctx context.Context) error {
	changed := &waker{woken: make(chan struct{}, 1)}
	stop, err := l.table.Watch(l.key, changed)
	if err != nil {
		return err
	}
	defer stop()
	// The table does not notify of expiry.
	look := time.NewTicker(l.ttl / 4)
	defer look.Stop()
	// The table uses the clocks of its servers, which may keep an expired lease for an hour. So a lease that was not
	// renewed for its lifetime also counts as free.
	var last uint64
	var seen time.Time
	for {
		began := time.Now()
		e, err := l.look(ctx)
		if err != nil || e.Revision != last {
			// It may have been renewed at any moment until now, however long the answer took.
			last, seen = e.Revision, time.Now()
		}
		if errors.Is(err, kv.ErrNotFound) ||
			err == nil && (string(e.Value) == freed || string(e.Value) == l.holder || began.Sub(seen) > l.ttl) {
			// The holder is this taker if the answer to its write was lost.
			if l.revision, err = l.table.Swap(ctx, l.key, []byte(l.holder), l.ttl, e.Revision); err == nil {
				l.since = began
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		case <-changed.woken:
		}
	}
}

// look reads the lease, with a timeout until the next look.
func (l *lease) look(ctx context.Context) (kv.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/4)
	defer cancel()
	return l.table.Read(ctx, l.key)
}

// renew renews the lease. An error means that it is lost.
func (l *lease) renew(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	next, err := l.table.Swap(ctx, l.key, []byte(l.holder), l.ttl, l.revision)
	if errors.Is(err, kv.ErrConflict) {
		// A write that returned an error may have been stored.
		e, readErr := l.table.Read(ctx, l.key)
		if readErr == nil && string(e.Value) == l.holder {
			next, err = l.table.Swap(ctx, l.key, []byte(l.holder), l.ttl, e.Revision)
		}
	}
	switch {
	case err == nil:
		l.revision, l.since = next, began
	case errors.Is(err, kv.ErrConflict), time.Since(l.since) > l.ttl:
		return err
	}
	return nil
}

// release gives the lease up, so that the next taker need not wait for its expiry. The revision protects a lease that was
// lost to another taker.
func (l *lease) release(ctx context.Context) {
	// This is not worth a long wait. The table takes an exceeded deadline for a failure of its own, which readiness
	// reports until the next write succeeds. So the write is cancelled instead.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer time.AfterFunc(releaseTime, cancel).Stop()
	_, _ = l.table.Swap(ctx, l.key, []byte(freed), l.ttl, l.revision)
}

// waker turns changes of a table into wake-ups.
type waker struct{ woken chan struct{} }

// Changed implements [kv.Watcher].
func (w *waker) Changed(kv.Record) { w.Lost() }

// Lost implements [kv.Watcher].
func (w *waker) Lost() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}
