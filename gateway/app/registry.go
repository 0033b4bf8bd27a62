package app

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// line leads from what an app was to what it is.
type line struct{ present atomic.Pointer[App] }

// Now returns the app as it is at present. Whoever keeps an app for longer than a request asks
// for it each time; it costs no more than reading a pointer. An app that was removed has no
// other than its id. An app that is in no registry stays as it is.
func (a *App) Now() *App {
	if a == nil || a.line == nil {
		return a
	}
	return a.line.present.Load()
}

// Registry finds apps. They can be replaced while it is in use, by any goroutine.
type Registry struct {
	index atomic.Pointer[index]

	// changing orders replacements. It guards lines, by id, which are never removed: somebody
	// may hold an app that was.
	changing sync.Mutex
	lines    map[string]*line
}

type index struct {
	byID, byKey map[string]*App
	ids         []string
}

// NewRegistry indexes apps; ids and keys must be unique, which the
// configuration has checked.
func NewRegistry(apps ...*App) *Registry {
	r := &Registry{lines: map[string]*line{}}
	r.Replace(apps...)
	return r
}

// Replace puts other apps in the place of those that there are, by their ids, and returns the ids
// of those that were not there before. Apps that are not named are removed. The registry has copies
// of the apps; what they refer to the caller gives away.
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

// ByKey returns the app of which this key counts at a time, or nil.
func (r *Registry) ByKey(key string, now time.Time) *App {
	a := r.index.Load().byKey[key]
	if a == nil || !a.Accepts(key, now) {
		return nil
	}
	return a
}

// IDs returns the ids of all apps in byte order. Callers must not modify it.
func (r *Registry) IDs() []string { return r.index.Load().ids }
