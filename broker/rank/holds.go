package rank

import "sync/atomic"

// hold is what one goroutine holds. It is made when the goroutine takes a first lock and
// dropped with its last one, so nobody else ever looks there.
type hold struct {
	locks []held
	first [2]held
}

// place is where the hold of a goroutine is found. The runtime uses identities again, so a
// place stays with its identity for ever.
type place struct {
	identity atomic.Uintptr
	hold     atomic.Pointer[hold]
}

// places is how many goroutines may live at a time in a test.
const places = 1 << 18

// holds has what goroutines hold. It is no map with a lock: whoever takes a lock here would
// be in order with all others by that, and the race detector would take it for the order of
// the program. For the same reason it is told not to look (quiet).
var holds []place

// mine is the place of the calling goroutine.
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
