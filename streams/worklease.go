package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// workLease is how long the taker of a queue is spared after its last sign of life. It
// gives one three times as often.
const workLease = 10 * time.Second

// releaseTime is how long is waited until it is stored that a lease was given up.
const releaseTime = time.Second

// freed is what a lease says that was given up.
const freed = "free"

// lease is the right to take from a queue.
type lease struct {
	table kv.Table
	ttl   time.Duration
	key   string
	// holder tells this taker from all others, those of the same process included.
	holder   string
	revision uint64
	// since is when the last renewal that succeeded was begun.
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
	// Expiry is not told.
	look := time.NewTicker(l.ttl / 4)
	defer look.Stop()
	// The table goes by the clocks of its servers, which may keep for an hour what has
	// ended. A lease that was not renewed for its life time has, too.
	var last uint64
	var seen time.Time
	for {
		began := time.Now()
		e, err := l.look(ctx)
		if err != nil || e.Revision != last {
			// It was renewed at some moment until now, however long the answer took.
			last, seen = e.Revision, time.Now()
		}
		if errors.Is(err, kv.ErrNotFound) ||
			err == nil && (string(e.Value) == freed || string(e.Value) == l.holder || began.Sub(seen) > l.ttl) {
			// Our own is there if the answer to a write was lost.
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

// look reads the lease. It is not waited for longer than until the next look.
func (l *lease) look(ctx context.Context) (kv.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/4)
	defer cancel()
	return l.table.Read(ctx, l.key)
}

// renew prolongs the lease. An error says that it is lost.
func (l *lease) renew(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	next, err := l.table.Swap(ctx, l.key, []byte(l.holder), l.ttl, l.revision)
	if errors.Is(err, kv.ErrConflict) {
		// A write of which we were told that it failed may have been stored.
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

// release gives the lease up, so that nobody has to wait for its end. One that was lost
// is somebody else's.
func (l *lease) release(ctx context.Context) {
	// It is a courtesy that nobody waits long for. The table takes a deadline that passed for its own
	// failure, which readiness names until something is stored again, so this write is called off instead.
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
