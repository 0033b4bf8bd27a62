package kv

import "github.com/sluicehq/sluice/broker/rank"

// Alarm is whom to tell that writes may have been missed. The zero value tells nobody. Safe
// for use by many goroutines.
type Alarm struct {
	mu  rank.Mutex[rank.Alarm]
	all []func()
}

// Add adds somebody.
func (a *Alarm) Add(lost func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, lost)
}

// Sound tells everybody, without a lock.
func (a *Alarm) Sound() {
	a.mu.Lock()
	all := a.all
	a.mu.Unlock()
	for _, lost := range all {
		lost()
	}
}
