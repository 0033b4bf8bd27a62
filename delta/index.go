package delta

import (
	"encoding/binary"
	"math/bits"
)

const (
	// grid is the distance between indexed places in bases of usual size. Every match of grid+window-1 bytes
	// covers one.
	grid = 4
	// maxSlots bounds the memory of an index to 512 KiB. The grid of bases
	// above 256 KiB is wider.
	maxSlots = 1 << 17
	// restless is how many times the size of the base may be indexed piecewise before all of it is indexed.
	restless = 8
)

// index finds windows of the base by their content. It holds one place per slot and is not cleared between
// bases: places carry a number that grows from base to base, so that places of earlier bases are recognized.
type index struct {
	slots []uint32
	// first is added to the places of the present base; size is its length.
	first, size uint32
	// shift turns a hash into a slot.
	shift uint8
	step  int
	// lo and hi bound the part of the base that is known to be indexed.
	lo, hi int
	// filled is how many bytes of the base were indexed, counting repeated ones again.
	filled int
}

// reset begins with a base of n bytes, at least one window and at most [MaxText].
func (x *index) reset(n int) {
	places := max(n/grid, 1)
	x.step = grid
	for 2*places > maxSlots {
		places /= 2
		x.step *= 2
	}
	log := bits.Len(uint(2*places - 1))
	x.shift = uint8(64 - log)
	// Numbers begin with one, so that an empty slot belongs to no base.
	next := uint64(x.first) + uint64(x.size)
	switch {
	case len(x.slots) < 1<<log:
		x.slots = make([]uint32, 1<<log)
		next = 1
	case next+uint64(n) > 1<<32-1:
		clear(x.slots)
		next = 1
	}
	x.first, x.size = uint32(next), uint32(n)
	x.lo, x.hi, x.filled = 0, 0, 0
}

// cover indexes base[lo:hi]. Parts indexed before stay indexed, but only the last contiguous part is
// remembered. If the search jumps so much that indexing parts costs several times as much as indexing all of
// the base, cover indexes all of it.
func (x *index) cover(base []byte, lo, hi int) {
	lo, hi = max(0, lo), min(hi, len(base)-window+1)
	lo -= lo % x.step
	switch {
	case lo >= hi:
	case x.lo == x.hi || lo > x.hi || hi < x.lo:
		if x.filled >= restless*len(base) {
			lo, hi = 0, len(base)-window+1
		}
		x.fill(base, lo, hi)
		x.lo, x.hi = lo, hi
	default:
		if lo < x.lo {
			x.fill(base, lo, x.lo)
			x.lo = lo
		}
		if hi > x.hi {
			x.fill(base, x.hi-x.hi%x.step, hi)
			x.hi = hi
		}
	}
}

// covers reports whether all of base is indexed.
func (x *index) covers(base []byte) bool {
	return x.lo == 0 && x.hi >= len(base)-window+1
}

func (x *index) fill(base []byte, lo, hi int) {
	x.filled += hi - lo
	shift := x.shift & 63
	slots, first := x.slots[:1<<(64-shift)], x.first
	for i := lo; i < hi; i += x.step {
		slots[hash(binary.LittleEndian.Uint64(base[i:]))>>shift] = first + uint32(i)
	}
}

// find returns a place of the base whose window may equal w.
func (x *index) find(w uint64) (int, bool) {
	at := x.slots[hash(w)>>(x.shift&63)] - x.first
	return int(at), at < x.size
}

// hash spreads a window over the high bits.
func hash(w uint64) uint64 { return w * 0x9E3779B97F4A7C15 }
