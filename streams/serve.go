package streams

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// watched is how an app's stream is looked after.
type watched struct {
	// gone ends it, ended is closed then.
	gone, ended chan struct{}
}

// watch begins to look after an app's stream, once whoever did so before has ended.
func (l *Log) watch(a *appLog) {
	before := a.watched
	w := &watched{gone: make(chan struct{}), ended: make(chan struct{})}
	a.watched = w
	l.running.Go(func() {
		defer close(w.ended)
		if before != nil {
			<-before.ended
		}
		l.superviseApp(a, w.gone)
	})
}

// openingPatience is how long Serve waits for the streams of new apps.
const openingPatience = 5 * time.Second

// Serve makes the log that of other apps while it is open. New ones are opened; those that cannot
// be are a problem and are tried again. Those that are not named any more are let go of: their
// streams stay as they are, and nobody looks at them until they are named again. All apps have
// their secrets at once. What is kept of those that stay is for [Log.Retain]. maxData and queues
// are as in [Options]; neither becomes less. It is for one goroutine at a time.
func (l *Log) Serve(ctx context.Context, apps []AppOptions, maxData, queues int) error {
	opt := Options{Apps: slices.Clone(apps), Replicas: l.opt.Replicas, MaxData: max(maxData, l.maxData())}
	if err := opt.setDefaults(); err != nil {
		return fmt.Errorf("streams: %w", err)
	}
	l.larger.Store(int64(opt.MaxData))
	l.addresses.Store(int64(max(queues, int(l.addresses.Load()))))
	named, ids := map[string]AppOptions{}, []string{}
	for _, o := range opt.Apps {
		named[o.ID] = o
		ids = append(ids, o.ID)
		if a, known := l.apps.Find(o.ID); known {
			a.credentials.Store(newCredentials(o.ID, o.Secrets))
		}
	}
	added, removed := l.apps.Differ(ids)
	for _, id := range removed {
		if a, known := l.apps.Find(id); known {
			close(a.watched.gone)
		}
	}
	l.apps.Change(added, removed, func(id string) *appLog { return l.newAppLog(named[id]) })
	l.telling.Do(func() { close(l.told) })
	l.forget(removed)
	l.take(ctx, added, named)
	return nil
}

// take opens the logs of apps that are new, or were let go of before.
func (l *Log) take(ctx context.Context, added []string, named map[string]AppOptions) {
	ctx, cancel := context.WithTimeout(ctx, openingPatience)
	defer cancel()
	var opening sync.WaitGroup
	for _, id := range added {
		a, o := l.apps.Of(id), named[id]
		a.limits.Store(&o)
		a.credentials.Store(newCredentials(id, o.Secrets))
		opening.Go(func() {
			l.noteOpening(id, l.openApp(ctx, a, func(f func(context.Context) error) error { return attempt(ctx, f) }))
			l.watch(a)
		})
	}
	opening.Wait()
}

// forget lets go of what is known to be wrong with apps that were removed.
func (l *Log) forget(removed []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, p := range l.problems {
		if p.app != "" && p.app != broker.GatewaysApp && slices.Contains(removed, p.app) {
			delete(l.problems, what)
		}
	}
}

// maxData is the largest data of an event in bytes.
func (l *Log) maxData() int { return max(l.opt.MaxData, int(l.larger.Load())) }
