package streams

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// watched is the supervision of the stream of an app.
type watched struct {
	// gone is closed to end it, and ended is closed when it has ended.
	gone, ended chan struct{}
}

// watch begins to supervise the stream of an app, after the previous supervision has ended.
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

// Serve changes the apps of the log while it is open. New apps are opened. An app that cannot be opened is reported by
// readiness and tried again. Apps that are not listed any more are released: their streams stay as they are, without
// supervision, until they are listed again. New secrets take effect at once. Limits of existing apps are changed with
// [Log.Retain]. maxData and queues are as in [Options], and never decrease. Only one goroutine may call it at a time.
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

// take opens the logs of apps that are new or were released before.
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

// forget removes the problems of apps that were removed.
func (l *Log) forget(removed []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, p := range l.problems {
		if p.app != "" && p.app != broker.GatewaysApp && slices.Contains(removed, p.app) {
			delete(l.problems, what)
		}
	}
}

// maxData returns the largest data of an event in bytes.
func (l *Log) maxData() int { return max(l.opt.MaxData, int(l.larger.Load())) }
