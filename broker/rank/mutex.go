package rank

import "sync"

// Kind is a type of the table of locks.
type Kind interface{ class() class }

func classOf[K Kind]() class {
	var k K
	return k.class()
}

// Mutex is a [sync.Mutex] with a rank. The zero value is unlocked. The goroutine that locked it must unlock
// it.
type Mutex[K Kind] struct{ mu sync.Mutex }

// Lock is like [sync.Mutex.Lock].
func (m *Mutex[K]) Lock() {
	if checked {
		check(m, classOf[K]())
		m.mu.Lock()
		took(m, classOf[K]())
		return
	}
	m.mu.Lock()
}

// Unlock is like [sync.Mutex.Unlock].
func (m *Mutex[K]) Unlock() {
	if checked {
		gave(m, classOf[K]())
	}
	m.mu.Unlock()
}

// RWMutex is a [sync.RWMutex] with a rank. The zero value is unlocked. A goroutine that holds the read lock
// must not take it again: a writer may be waiting in between.
type RWMutex[K Kind] struct{ mu sync.RWMutex }

// Lock is like [sync.RWMutex.Lock].
func (m *RWMutex[K]) Lock() {
	if checked {
		check(m, classOf[K]())
		m.mu.Lock()
		took(m, classOf[K]())
		return
	}
	m.mu.Lock()
}

// Unlock is like [sync.RWMutex.Unlock].
func (m *RWMutex[K]) Unlock() {
	if checked {
		gave(m, classOf[K]())
	}
	m.mu.Unlock()
}

// RLock is like [sync.RWMutex.RLock].
func (m *RWMutex[K]) RLock() {
	if checked {
		check(m, classOf[K]())
		m.mu.RLock()
		took(m, classOf[K]())
		return
	}
	m.mu.RLock()
}

// RUnlock is like [sync.RWMutex.RUnlock].
func (m *RWMutex[K]) RUnlock() {
	if checked {
		gave(m, classOf[K]())
	}
	m.mu.RUnlock()
}
