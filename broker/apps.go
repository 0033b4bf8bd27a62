package broker

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// Apps are what a backend has of its apps, by their ids. They may change while they are read. The
// zero value has none.
type Apps[A interface {
	// Ready says whether it can be used yet.
	Ready() bool
}] struct {
	now atomic.Pointer[map[string]A]
	// changing orders changes and guards left.
	changing sync.Mutex
	// left are those that were removed: somebody may still use them.
	left map[string]A
}

// All are the apps that there are now.
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

// Len is the number of apps.
func (m *Apps[A]) Len() int {
	if all := m.now.Load(); all != nil {
		return len(*all)
	}
	return 0
}

// Find returns what there is of an app, whether or not it can be used.
func (m *Apps[A]) Find(id string) (a A, known bool) {
	if all := m.now.Load(); all != nil {
		a, known = (*all)[id]
	}
	return a, known
}

// Of returns what there is of an app, or was before it was removed; the zero value if there was
// none.
func (m *Apps[A]) Of(id string) A {
	if a, known := m.Find(id); known {
		return a
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	return m.left[id]
}

// Get returns what there is of an app that can be used. Errors: [ErrUnknownApp], and
// [ErrUnavailable] if its log could not be opened yet.
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

// Change adds the apps of those ids, of which there are none yet, and removes others. One that was
// there before is the same as then; others are made.
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

// Differ compares the apps with ids that should be theirs: which are to be added and removed.
// [GatewaysApp] is always there.
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

// MaxEventData is the largest limit of the data of an event in bytes.
const MaxEventData = 8 << 20

// CheckLog says what is wrong with the ids of the apps of a log and with its limit of the data
// of an event in bytes.
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
