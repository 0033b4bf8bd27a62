package redis

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
)

// openingPatience bounds how long Serve waits for new apps.
const openingPatience = 5 * time.Second

// Serve changes the apps of an open log, and their limits from the next event on. New apps are opened; an app
// that cannot be opened is recorded as a problem and retried. Apps that are no longer named are released, and
// their keys remain. maxData is as in [Options]; it never decreases. Calls must not overlap.
func (l *Log) Serve(ctx context.Context, apps []AppOptions, maxData int) error {
	opt := Options{URL: l.opt.URL, Cluster: l.opt.Cluster, Prefix: l.opt.Prefix, Apps: slices.Clone(apps), MaxData: max(maxData, l.maxData())}
	if err := opt.setDefaults(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	l.larger.Store(int64(opt.MaxData))
	var ids []string
	for _, o := range opt.Apps {
		ids = append(ids, o.ID)
	}
	added, removed := l.apps.Differ(ids)
	l.add(opt.Apps, removed)
	l.mu.Lock()
	for what, p := range l.problems {
		if slices.Contains(removed, p.app) {
			delete(l.problems, what)
		}
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, openingPatience)
	defer cancel()
	each(slices.Values(added), opening, func(id string) {
		err := l.attempt(ctx, func(ctx context.Context) error { return l.refresh(ctx, l.apps.Of(id)) })
		if err != nil {
			l.opt.Logger.Error("the log of an app cannot be opened; the others go on, and it is tried again", "app", id, "error", err)
			l.appProblem(id, epochOfApp(id), err)
		}
	})
	return nil
}

// add adds apps, updates the limits of present ones, and releases the removed ones.
func (l *Log) add(apps []AppOptions, removed []string) {
	named, added := map[string]*AppOptions{}, []string{}
	for i := range apps {
		named[apps[i].ID] = &apps[i]
		if a, known := l.apps.Find(apps[i].ID); known {
			a.limits.Store(&apps[i])
		} else {
			added = append(added, apps[i].ID)
		}
	}
	l.apps.Change(added, removed, func(id string) *appLog {
		a := &appLog{opt: *named[id]}
		a.limits.Store(named[id])
		return a
	})
	for _, id := range added {
		l.apps.Of(id).limits.Store(named[id])
	}
}

// all returns the logs of all apps.
func (l *Log) all() iter.Seq[*appLog] {
	return func(yield func(*appLog) bool) {
		for _, a := range l.apps.All() {
			if !yield(a) {
				return
			}
		}
	}
}

// maxData returns the largest data of an event in bytes.
func (l *Log) maxData() int { return max(l.opt.MaxData, int(l.larger.Load())) }
