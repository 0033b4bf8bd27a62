package count

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/kv"
)

// Interval decides which publications of one channel are sent in full: of every N publications of a
// conflation value the first one, so that after any reset there are at most N-1 deltas in a row.
//
// The decision depends only on the ordered log of the channel and the arguments of [NewInterval]. Two
// Intervals that got the same publications since the same state decide the same, so gateways agree without
// asking each other. Hence the Interval must be told every publication of the channel, also those that no
// socket receives: with Step if it is tracked, otherwise with Pass. If two disagree nevertheless, a full
// frame is always safe for a client; only the saving is lost.
//
// The zero value does not work. Not safe for concurrent use.
type Interval struct {
	n    uint32
	most int
	idle time.Duration

	last     uint64
	lastTime time.Time

	// The values that were counted form a list by recency, whose links are indices. nodes[0] is its anchor:
	// anchor.next is the least recently published value and anchor.prev the most recent one. So a step of a
	// known value allocates nothing.
	index map[string]int32
	nodes []valueNode
	// free are the indices of unused nodes.
	free []int32
	// bytes is the size of the values in a snapshot.
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

// NewInterval returns an Interval that has seen nothing. With n of 0 or 1, every publication is full and no
// value is remembered. It remembers at most maxKeys values, at least one, and never more than a snapshot of
// 256 KiB can hold. Beyond that, it forgets the least recently published value, whose next publication is
// then full. After a silence of the channel longer than idle, or when the clock of the log goes back by more
// than that, it forgets everything; 0 or less means never. All gateways must use the same three arguments.
func NewInterval(n, maxKeys int, idle time.Duration) *Interval {
	iv := &Interval{n: uint32(min(max(n, 1), maxInterval)), most: min(max(maxKeys, 1), maxRemembered), idle: idle}
	iv.forget()
	return iv
}

const (
	// maxInterval and maxRemembered keep counts and indices within 31 bits.
	maxInterval   = 1<<31 - 1
	maxRemembered = 1 << 30
	// maxValueBytes bounds all values together, so that a snapshot fits into a bucket with
	// [kv.DefaultMaxValueBytes].
	maxValueBytes = kv.DefaultMaxValueBytes - 1024
)

// Step counts one publication of the channel and reports whether it is sent in full. It must be called in log
// order. offset and t are the offset and the time of the publication. prev is the offset of the channel's
// previous publication when this one was stored. live is false for a publication that was read from history,
// which does not know its prev. value is the conflation value, empty in single-base mode; the caller bounds
// its length. A value that is not UTF-8 counts as U+FFFD, because a snapshot is JSON.
//
// An offset that is not above the last one changes nothing, and the answer is full.
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

// Pass moves past a publication that takes no part: its offset and time count as in Step, but the publication
// is not counted. It reports false, and does nothing, if the offset is not above the last one.
func (iv *Interval) Pass(offset, prev uint64, t time.Time, live bool) bool {
	if offset <= iv.last {
		return false
	}
	// Rule I: a checkpoint that a joining gateway needs may have expired, so all gateways start again, by the
	// time of the log.
	if iv.Idle(t) {
		iv.forget()
	}
	// Rule C: the publications that were counted are no longer in the log, so a joining gateway cannot count
	// them.
	if live && prev < iv.last {
		iv.forget()
	}
	iv.last, iv.lastTime = offset, t
	return true
}

// Idle reports whether a publication at t would clear all counts, because the channel was silent for longer
// than idle, or because the clock of the log went back so far that a silence cannot be ruled out.
func (iv *Interval) Idle(t time.Time) bool {
	return iv.idle > 0 && !iv.lastTime.IsZero() && t.Sub(iv.lastTime).Abs() > iv.idle
}

// Position returns the offset and the time of the last publication, zero if there was none.
func (iv *Interval) Position() (offset uint64, t time.Time) { return iv.last, iv.lastTime }

// Len returns the number of values that are remembered.
func (iv *Interval) Len() int { return len(iv.index) }

// Reset forgets all counts and sets the position, which may be below the present one in a new epoch of the
// log.
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

// remember creates a node for a new value, at the recent end of the list. It removes the least recent ones if
// there is no room.
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
	// The value may be a part of a publication that should not be kept alive.
	value = strings.Clone(value)
	iv.nodes[at] = valueNode{value: value, hash: hashValue(value)}
	iv.index[value] = at
	iv.sum += iv.nodes[at].mix()
	iv.append(at)
	return at
}

// snapshotBytes returns the largest size of a value with its count in a snapshot: JSON escapes some bytes
// with six.
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

// Hash is equal for Intervals that remember the same counts at the same position of the log with the same N
// and number of values, in any process, and nearly always differs otherwise. It leaves the order of the
// values out, so that a step updates it in constant time. A different order shows as soon as it makes a
// difference.
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

// scramble is the finalizer of MurmurHash3: every bit of the input changes about half of the output.
func scramble(h uint64) uint64 {
	h = (h ^ h>>33) * 0xFF51AFD7ED558CCD
	h = (h ^ h>>33) * 0xC4CEB9FE1A85EC53
	return h ^ h>>33
}
