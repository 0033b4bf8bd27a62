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
	// Again is the time between two readings of all apps, whatever was heard of them.
	Again = 5 * time.Second
	// gather is how long writes are gathered after the first one.
	gather = 50 * time.Millisecond
	// readTimeout bounds one reading.
	readTimeout = 10 * time.Second
)

// Follower knows the apps of a shelf. Make it with [Follow].
type Follower struct {
	shelf *Shelf
	// heard has room for one word that something was written.
	heard chan struct{}
	// Logger is told of records that were lost; nil for nobody. It is set before Run.
	Logger *slog.Logger

	mu   sync.Mutex
	apps map[string]*App
	err  error
}

var _ kv.Watcher = (*Follower)(nil)

// Follow begins to follow the apps of a shelf, which it has read when it returns. Run goes on.
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

// Apps are those that there are. Nobody changes them. The error says why they could not be read
// lately, nil if they could.
func (f *Follower) Apps() (map[string]*App, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.apps, f.err
}

// Run reads the apps again when one was written, and every so often, until ctx is done. It calls
// changed when they are others than before, or can be read again, or no more.
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

// read reads all apps, and tells whether they are others than before.
func (f *Follower) read(ctx context.Context) (others bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	select {
	case <-f.heard: // what was heard before is in it
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
	// Removing an app leaves a record. What has none was lost by the table, and is no order.
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

// restore writes records again that the table has lost. What fails is found again by the next reading.
func (f *Follower) restore(ctx context.Context, lost []*App) {
	for _, a := range lost {
		err := f.shelf.write(ctx, a.ID, a.sealed, 0)
		switch {
		case f.Logger == nil || errors.Is(err, ErrRaced): // Somebody else has written it.
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
