package app

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// line points to the present state of an app.
type line struct{ present atomic.Pointer[App] }

// Now returns the present state of the app. Code that keeps an app for longer than a request calls it each time;
// it costs one load of a pointer. For a removed app, the result has only its id and Removed. An app that is in
// no registry is returned unchanged.
func (a *App) Now() *App {
	if a == nil || a.line == nil {
		return a
	}
	return a.line.present.Load()
}

// Registry finds apps. It is safe for concurrent use, including replacement of its apps.
type Registry struct {
	index atomic.Pointer[index]

	// changing serializes replacements and guards lines, which are by id. Lines are never removed, because an
	// old App may still be in use.
	changing sync.Mutex
	lines    map[string]*line
}

type index struct {
	byID, byKey map[string]*App
	ids         []string
}

// NewRegistry returns a registry of apps. Ids and keys must be unique, which the configuration has checked.
func NewRegistry(apps ...*App) *Registry {
	r := &Registry{lines: map[string]*line{}}
	r.Replace(apps...)
	return r
}

// Replace replaces all apps and returns the ids that were not there before. Apps that are not given are removed.
// The registry copies the apps, but takes ownership of what they refer to.
func (r *Registry) Replace(apps ...*App) (added []string) {
	r.changing.Lock()
	defer r.changing.Unlock()
	next := &index{byID: map[string]*App{}, byKey: map[string]*App{}}
	for _, a := range apps {
		own := *a
		a = &own
		next.byID[a.ID] = a
		for i := range a.Earlier {
			next.byKey[a.Earlier[i].Key] = a
		}
		next.byKey[a.Key] = a
		next.ids = append(next.ids, a.ID)
	}
	slices.Sort(next.ids)
	before := r.index.Load()
	for _, id := range next.ids {
		if before == nil || before.byID[id] == nil {
			added = append(added, id)
		}
		if r.lines[id] == nil {
			r.lines[id] = &line{}
		}
		a := next.byID[id]
		a.line = r.lines[id]
		a.line.present.Store(a)
	}
	for id, l := range r.lines {
		if next.byID[id] == nil {
			l.present.Store(&App{ID: id, Removed: true, line: l})
		}
	}
	r.index.Store(next)
	return added
}

// ByID returns the app with this id, or nil.
func (r *Registry) ByID(id string) *App { return r.index.Load().byID[id] }

// ByKey returns the app for which this key is valid at a time, or nil.
func (r *Registry) ByKey(key string, now time.Time) *App {
	a := r.index.Load().byKey[key]
	if a == nil || !a.Accepts(key, now) {
		return nil
	}
	return a
}

// IDs returns the ids of all apps in byte order. Callers must not modify the slice.
func (r *Registry) IDs() []string { return r.index.Load().ids }
