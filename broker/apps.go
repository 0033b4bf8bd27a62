package broker

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// Apps holds the values that a backend keeps for its apps, by app id. Safe for concurrent use. The zero value
// has no apps.
type Apps[A interface {
	// Ready reports whether the value can be used yet.
	Ready() bool
}] struct {
	now atomic.Pointer[map[string]A]
	// changing serializes changes and guards left.
	changing sync.Mutex
	// left holds the values of removed apps, which callers may still use.
	left map[string]A
}

// All returns the present apps by id.
func (m *Apps[A]) All() iter.Seq2[string, A] {
	return func(yield func(string, A) bool) {
		if all := m.now.Load(); all != nil {
			for id, a := range *all {
				if !yield(id, a) {
					return
				}
			}
		}
	}
}

// Len returns the number of apps.
func (m *Apps[A]) Len() int {
	if all := m.now.Load(); all != nil {
		return len(*all)
	}
	return 0
}

// Find returns the value of an app, whether or not it is ready.
func (m *Apps[A]) Find(id string) (a A, known bool) {
	if all := m.now.Load(); all != nil {
		a, known = (*all)[id]
	}
	return a, known
}

// Of returns the value of an app, also of a removed one, or the zero value if there never was one.
func (m *Apps[A]) Of(id string) A {
	if a, known := m.Find(id); known {
		return a
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	return m.left[id]
}

// Get returns the value of an app that is ready. Errors: [ErrUnknownApp], and [ErrUnavailable] if the app's
// log could not be opened yet.
func (m *Apps[A]) Get(id string) (A, error) {
	var none A
	a, known := m.Find(id)
	switch {
	case !known:
		return none, fmt.Errorf("%w: %.100q", ErrUnknownApp, id)
	case !a.Ready():
		return none, fmt.Errorf("%w: the log of the app %.100q could not be opened yet", ErrUnavailable, id)
	}
	return a, nil
}

// Change adds apps that do not exist yet and removes others. An app that was removed earlier gets its old
// value back; for other new apps make is called.
func (m *Apps[A]) Change(add, remove []string, make func(id string) A) {
	m.changing.Lock()
	defer m.changing.Unlock()
	next := map[string]A{}
	for id, a := range m.All() {
		next[id] = a
	}
	for _, id := range remove {
		if m.left == nil {
			m.left = map[string]A{}
		}
		if a, known := next[id]; known {
			m.left[id] = a
			delete(next, id)
		}
	}
	for _, id := range add {
		a, was := m.left[id]
		if !was {
			a = make(id)
		}
		delete(m.left, id)
		next[id] = a
	}
	m.now.Store(&next)
}

// Differ compares the present apps with the wanted ids and returns which to add and which to remove.
// [GatewaysApp] is never removed.
func (m *Apps[A]) Differ(ids []string) (add, remove []string) {
	for _, id := range ids {
		if _, known := m.Find(id); !known {
			add = append(add, id)
		}
	}
	wanted := map[string]bool{GatewaysApp: true}
	for _, id := range ids {
		wanted[id] = true
	}
	for id := range m.All() {
		if !wanted[id] {
			remove = append(remove, id)
		}
	}
	return add, remove
}

// MaxEventData is the upper bound for the configured limit of an event's data, in bytes.
const MaxEventData = 8 << 20

// CheckLog returns an error for invalid app ids of a log and for a limit of event data, in bytes, that is out
// of range.
func CheckLog[A any](apps []A, idOf func(A) string, maxData int) error {
	var errs []error
	for _, a := range apps {
		id := idOf(a)
		if id == "" || len(id) > 100 {
			errs = append(errs, fmt.Errorf("app id %.40q: must have 1 to 100 bytes", id))
		}
		if ReservedApp(id) {
			errs = append(errs, fmt.Errorf("app id %.40q: ids that begin with # are reserved", id))
		}
	}
	if maxData < 1 || maxData > MaxEventData {
		errs = append(errs, fmt.Errorf("the largest data is %d bytes, must be 1 to %d", maxData, MaxEventData))
	}
	return errors.Join(errs...)
}
