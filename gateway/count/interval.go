package count

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/kv"
)

// Interval decides which publications of one channel go out in full: of every N
// publications of a conflation value the first, so that after any reset nobody
// sees more than N-1 deltas in a row.
//
// The decision depends on nothing but the ordered log of the channel and the
// arguments of [NewInterval]. Two Intervals that were fed the same publications
// since the same state decide alike, which is what lets gateways agree without
// asking each other. Hence every publication of a channel is told, also those that
// no socket receives: it is stepped if it is tracked, and passed otherwise. Where two
// disagree nonetheless, full is always safe for a client; only the saving is lost.
//
// The zero value does not work. It is for one goroutine at a time.
type Interval struct {
	n    uint32
	most int
	idle time.Duration

	last     uint64
	lastTime time.Time

	// Values that were counted, in a list by recency whose links are indices:
	// nodes[0] is its anchor, anchor.next the least recently published value
	// and anchor.prev the most recent one. A step of a known value thus
	// allocates nothing.
	index map[string]int32
	nodes []valueNode
	// free are the indices of nodes that are not used.
	free []int32
	// bytes is what the values take in a snapshot.
	bytes int
	// sum is the sum of the mixes of all nodes, see Hash.
	sum uint64
}

type valueNode struct {
	value      string
	hash       uint64 // of the value
	count      uint32 // publications since the last full one, modulo n
	prev, next int32
}

// NewInterval returns a counter that has seen nothing. With n of 0 or 1 every
// publication is full and no value is remembered. At most maxKeys values are
// remembered, at least one, and never more than a snapshot of 256 KiB can hold; the
// least recently published one is forgotten, and its next publication is full. After a
// silence of the channel longer than idle, or when the clock of the log goes back by more
// than that, everything is forgotten; 0 or less means never. All gateways must use the same
// three arguments.
func NewInterval(n, maxKeys int, idle time.Duration) *Interval {
	iv := &Interval{n: uint32(min(max(n, 1), maxInterval)), most: min(max(maxKeys, 1), maxRemembered), idle: idle}
	iv.forget()
	return iv
}

const (
	// maxInterval and maxRemembered keep counts and indices within 31 bits.
	maxInterval   = 1<<31 - 1
	maxRemembered = 1 << 30
	// maxValueBytes bounds the values together, so that a snapshot of them fits
	// into a bucket with [kv.DefaultMaxValueBytes].
	maxValueBytes = kv.DefaultMaxValueBytes - 1024
)

// Step counts one publication of the channel and reports whether it goes out in
// full. It takes the publications in the order of the log. offset and t are its
// place in the log; prev is the offset of the channel's publication before it
// when it was stored; live is false for one that was read from history, which
// does not know its prev. value is its conflation value, empty in single-base
// mode; the caller bounds its length. A value that is not UTF-8 counts as one
// U+FFFD, because a snapshot is JSON.
//
// An offset that is not above the last one is no step at all: nothing changes,
// and the answer is full.
func (iv *Interval) Step(offset, prev uint64, t time.Time, live bool, value string) (full bool) {
	if !iv.Pass(offset, prev, t, live) || iv.n == 1 {
		return true
	}
	if !utf8.ValidString(value) {
		value = string(utf8.RuneError)
	}
	at, known := iv.index[value]
	if !known {
		at = iv.remember(value)
	}
	node := &iv.nodes[at]
	full = node.count == 0
	iv.sum -= node.mix()
	if node.count++; node.count == iv.n {
		node.count = 0
	}
	iv.sum += node.mix()
	iv.unlink(at)
	iv.append(at)
	return full
}

// Pass goes by a publication that takes no part: it has a place in the log, like one that is
// stepped, and is not counted. It reports false, and does nothing, if its offset is not above
// the last one.
func (iv *Interval) Pass(offset, prev uint64, t time.Time, live bool) bool {
	if offset <= iv.last {
		return false
	}
	// Rule I: a checkpoint that a newcomer might look for may have expired, so
	// all begin anew, by the time of the log.
	if iv.Idle(t) {
		iv.forget()
	}
	// Rule C: what was counted up to now is no longer in the log, so nobody
	// who comes later can count it.
	if live && prev < iv.last {
		iv.forget()
	}
	iv.last, iv.lastTime = offset, t
	return true
}

// Idle reports whether a publication at t would find everything forgotten, because
// the channel was silent for longer than idle, or because the clock of the log went
// back so far that nobody knows.
func (iv *Interval) Idle(t time.Time) bool {
	return iv.idle > 0 && !iv.lastTime.IsZero() && t.Sub(iv.lastTime).Abs() > iv.idle
}

// Position returns the offset and the time of the last step, zero if there was
// none.
func (iv *Interval) Position() (offset uint64, t time.Time) { return iv.last, iv.lastTime }

// Len returns the number of values that are remembered.
func (iv *Interval) Len() int { return len(iv.index) }

// Reset forgets all counts and goes to a place in the log, which may be below
// the present one when the log began a new life.
func (iv *Interval) Reset(offset uint64, t time.Time) {
	iv.forget()
	iv.last, iv.lastTime = offset, t
}

func (iv *Interval) forget() {
	if len(iv.nodes) == 1 {
		return
	}
	iv.index = make(map[string]int32)
	iv.nodes = make([]valueNode, 1)
	iv.free, iv.bytes, iv.sum = nil, 0, 0
}

// remember makes a node of a new value, at the recent end of the list. The least
// recent ones make room for it.
func (iv *Interval) remember(value string) int32 {
	size := snapshotBytes(value)
	for len(iv.index) > 0 && (len(iv.index) >= iv.most || iv.bytes+size > maxValueBytes) {
		at := iv.nodes[0].next
		iv.unlink(at)
		delete(iv.index, iv.nodes[at].value)
		iv.sum -= iv.nodes[at].mix()
		iv.bytes -= snapshotBytes(iv.nodes[at].value)
		iv.free = append(iv.free, at)
	}
	var at int32
	if n := len(iv.free); n > 0 {
		at, iv.free = iv.free[n-1], iv.free[:n-1]
	} else {
		at = int32(len(iv.nodes))
		iv.nodes = append(iv.nodes, valueNode{})
	}
	iv.bytes += size
	// The value may be part of a publication that should not be kept alive.
	value = strings.Clone(value)
	iv.nodes[at] = valueNode{value: value, hash: hashValue(value)}
	iv.index[value] = at
	iv.sum += iv.nodes[at].mix()
	iv.append(at)
	return at
}

// snapshotBytes is at most what a value takes in a snapshot, with its count: JSON
// escapes some bytes with six.
func snapshotBytes(value string) int {
	n := len(value) + len(`"",2147483647,`)
	for i := 0; i < len(value); i++ {
		switch b := value[i]; {
		case b < ' ', b == '"', b == '\\', b == '<', b == '>', b == '&', b == 0x7f, b == 0xe2:
			n += 5
		}
	}
	return n
}

func (iv *Interval) unlink(at int32) {
	node := &iv.nodes[at]
	iv.nodes[node.prev].next = node.next
	iv.nodes[node.next].prev = node.prev
}

func (iv *Interval) append(at int32) {
	tail := iv.nodes[0].prev
	iv.nodes[at].prev, iv.nodes[at].next = tail, 0
	iv.nodes[tail].next = at
	iv.nodes[0].prev = at
}

// Hash is equal for Intervals that remember the same counts at the same place
// in the log with the same N, in whatever process, and nearly always differs
// otherwise. The order of the values is left out, so that a step updates it in
// constant time; a different order shows as soon as it makes a difference.
func (iv *Interval) Hash() uint64 {
	h := iv.sum
	for _, v := range [...]uint64{iv.last, uint64(iv.lastTime.UnixNano()), uint64(iv.n), uint64(iv.most)} {
		h = scramble(h ^ v)
	}
	return h
}

func (n *valueNode) mix() uint64 { return scramble(n.hash + uint64(n.count)*0x9E3779B97F4A7C15) }

// hashValue is FNV-1a with 64 bits.
func hashValue(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// scramble is the finalizer of MurmurHash3: every bit of the input moves about
// half of the output.
func scramble(h uint64) uint64 {
	h = (h ^ h>>33) * 0xFF51AFD7ED558CCD
	h = (h ^ h>>33) * 0xC4CEB9FE1A85EC53
	return h ^ h>>33
}
