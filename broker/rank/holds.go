package rank

import "sync/atomic"

// hold is the set of locks that one goroutine holds. It is made with the goroutine's first lock and dropped
// with its last, so only that goroutine accesses it.
type hold struct {
	locks []held
	first [2]held
}

// place refers to the hold of a goroutine. The runtime reuses identities, so a place keeps its identity for
// ever.
type place struct {
	identity atomic.Uintptr
	hold     atomic.Pointer[hold]
}

// places is the largest number of goroutines with different identities in a test.
const places = 1 << 18

// holds is a lock-free hash table of places by identity. A map with a lock would order all goroutines that
// take locks, and the race detector would take that for an order of the program. For the same reason the race
// detector is switched off here (quiet).
var holds []place

// mine returns the place of the calling goroutine.
//
//go:norace
func mine() *place {
	id := identity()
	start := id >> 6 * 0x9e3779b1
	for i := range uintptr(places) {
		p := &holds[(start+i)%places]
		if at := p.identity.Load(); at == id || at == 0 && p.identity.CompareAndSwap(0, id) {
			return p
		}
	}
	panic("rank: more goroutines than places")
}
