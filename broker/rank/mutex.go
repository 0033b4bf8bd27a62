package rank

import "sync"

// Kind is a row of the table of locks.
type Kind interface{ class() class }

func classOf[K Kind]() class {
	var k K
	return k.class()
}

// Mutex is a [sync.Mutex] with a place in the table. The zero value is unlocked. It is
// unlocked by the goroutine that has locked it.
type Mutex[K Kind] struct{ mu sync.Mutex }

// Lock is that of [sync.Mutex].
func (m *Mutex[K]) Lock() {
	if checked {
		check(m, classOf[K]())
		m.mu.Lock()
		took(m, classOf[K]())
		return
	}
	m.mu.Lock()
}

// Unlock is that of [sync.Mutex].
func (m *Mutex[K]) Unlock() {
	if checked {
		gave(m, classOf[K]())
	}
	m.mu.Unlock()
}

// RWMutex is a [sync.RWMutex] with a place in the table. The zero value is unlocked. A
// goroutine that reads may not begin to read again: a writer may have come between.
type RWMutex[K Kind] struct{ mu sync.RWMutex }

// Lock is that of [sync.RWMutex].
func (m *RWMutex[K]) Lock() {
	if checked {
		check(m, classOf[K]())
		m.mu.Lock()
		took(m, classOf[K]())
		return
	}
	m.mu.Lock()
}

// Unlock is that of [sync.RWMutex].
func (m *RWMutex[K]) Unlock() {
	if checked {
		gave(m, classOf[K]())
	}
	m.mu.Unlock()
}

// RLock is that of [sync.RWMutex].
func (m *RWMutex[K]) RLock() {
	if checked {
		check(m, classOf[K]())
		m.mu.RLock()
		took(m, classOf[K]())
		return
	}
	m.mu.RLock()
}

// RUnlock is that of [sync.RWMutex].
func (m *RWMutex[K]) RUnlock() {
	if checked {
		gave(m, classOf[K]())
	}
	m.mu.RUnlock()
}
