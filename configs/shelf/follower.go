package shelf

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sluicehq/sluice/kv"
)

const (
	// Again is the time between two readings of all apps, independent of notifications.
	Again = 5 * time.Second
	// gather is how long further writes are awaited after the first one.
	gather = 50 * time.Millisecond
	// readTimeout bounds one reading.
	readTimeout = 10 * time.Second
)

// Follower has the present apps of a shelf. [Follow] creates it. Its methods are safe for concurrent use.
type Follower struct {
	shelf *Shelf
	// heard has room for one notification of a write.
	heard chan struct{}
	// Logger gets messages about lost records; nil for none. It must be set before Run.
	Logger *slog.Logger

	mu   sync.Mutex
	apps map[string]*App
	err  error
}

var _ kv.Watcher = (*Follower)(nil)

// Follow begins to follow the apps of a shelf, and has read them when it returns. Run must be called to
// continue, and stop to end it.
func Follow(ctx context.Context, s *Shelf) (f *Follower, stop func(), err error) {
	f = &Follower{shelf: s, heard: make(chan struct{}, 1), apps: map[string]*App{}}
	stop, err = s.table.Watch(prefix+"*", f)
	if err != nil {
		return nil, nil, err
	}
	if _, err = f.read(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return f, stop, nil
}

// Changed implements [kv.Watcher].
func (f *Follower) Changed(kv.Record) { f.Lost() }

// Lost implements [kv.Watcher].
func (f *Follower) Lost() {
	select {
	case f.heard <- struct{}{}:
	default:
	}
}

// Apps returns the present apps, which must not be changed. The error is why the last reading failed, nil if it
// did not.
func (f *Follower) Apps() (map[string]*App, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.apps, f.err
}

// Run reads the apps after a notification, and regularly, until ctx is done. It calls changed when they have
// changed, or when reading begins or ceases to fail.
func (f *Follower) Run(ctx context.Context, changed func()) {
	tick := time.NewTicker(Again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.heard:
			select {
			case <-ctx.Done():
				return
			case <-time.After(gather):
			}
		}
		if others, _ := f.read(ctx); others && ctx.Err() == nil {
			changed()
		}
	}
}

// read reads all apps, and reports whether they have changed.
func (f *Follower) read(ctx context.Context) (others bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	select {
	case <-f.heard: // this reading includes the writes that were notified before
	default:
	}
	apps, there, err := f.shelf.list(ctx)
	var lost []*App
	defer func() { f.restore(ctx, lost) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	others = (err == nil) != (f.err == nil)
	f.err = err
	if err != nil {
		return others, err
	}
	// Removing an app leaves a record. An app without a record was lost by the table, and is kept.
	for id, a := range f.apps {
		if _, known := there[id]; !known {
			apps[id] = a
			lost = append(lost, a)
		}
	}
	others = others || !equal(apps, f.apps)
	f.apps = apps
	return others, nil
}

// restore writes lost records again. The next reading retries what fails.
func (f *Follower) restore(ctx context.Context, lost []*App) {
	for _, a := range lost {
		err := f.shelf.write(ctx, a.ID, a.sealed, 0)
		switch {
		case f.Logger == nil || errors.Is(err, ErrRaced): // somebody else has written it
		case err != nil:
			f.Logger.Error("the table has lost an app of the cluster, which could not be written again; it is tried again", "app", a.ID, "error", err)
		default:
			f.Logger.Warn("the table had lost an app of the cluster; it is written again", "app", a.ID)
		}
	}
}

func equal(a, b map[string]*App) bool {
	if len(a) != len(b) {
		return false
	}
	for id, x := range a {
		y := b[id]
		if y == nil || !bytes.Equal(x.Text, y.Text) || (x.Err == nil) != (y.Err == nil) {
			return false
		}
	}
	return true
}
