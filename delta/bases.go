package delta

import "time"

// Limits bound the bases of one channel.
type Limits struct {
	// Keys is the largest number of conflation values, at least 1.
	Keys int
	// Bytes is the largest sum of sizes.
	Bytes int
	// Age is when a base is too old to be used; 0 means never.
	Age time.Duration
}

// Base is a publication that deltas may start from.
type Base[T any] struct {
	Offset uint64
	Time   time.Time
	Value  T
}

// Bases remembers the last publication of each conflation value of one channel,
// and forgets the least recently published ones beyond its limits. What it answers
// depends only on what was put in, so all gateways forget alike. It has one owner
// and no lock.
type Bases[T any] struct {
	limits Limits
	index  map[string]int32
	nodes  []baseNode[T] // nodes[0] is the anchor of the ring of recency
	free   []int32
	bytes  int
}

type baseNode[T any] struct {
	Base[T]
	key        string
	size       int
	prev, next int32
}

// NewBases returns an empty store.
func NewBases[T any](l Limits) *Bases[T] {
	l.Keys = max(l.Keys, 1)
	b := &Bases[T]{limits: l}
	b.Reset()
	return b
}

// Get returns the base of a key, unless it is too old at the time of the
// publication that asks. It does not count as a use.
func (b *Bases[T]) Get(key string, now time.Time) (Base[T], bool) {
	at, ok := b.index[key]
	if !ok {
		return Base[T]{}, false
	}
	n := &b.nodes[at]
	if b.limits.Age > 0 && now.Sub(n.Time) >= b.limits.Age {
		return Base[T]{}, false
	}
	return n.Base, true
}

// Put makes a publication the base of its key. size is what it keeps in memory.
func (b *Bases[T]) Put(key string, offset uint64, t time.Time, value T, size int) {
	at, ok := b.index[key]
	if ok {
		b.unlink(at)
		b.bytes -= b.nodes[at].size
	} else {
		if n := len(b.free); n > 0 {
			at, b.free = b.free[n-1], b.free[:n-1]
		} else {
			b.nodes = append(b.nodes, baseNode[T]{})
			at = int32(len(b.nodes) - 1)
		}
		b.index[key] = at
	}
	n := &b.nodes[at]
	n.Base, n.key, n.size = Base[T]{offset, t, value}, key, size
	b.bytes += size
	b.link(at)
	for len(b.index) > b.limits.Keys || b.bytes > b.limits.Bytes && len(b.index) > 1 {
		b.drop(b.nodes[0].next)
	}
}

// Drop forgets the base of a key.
func (b *Bases[T]) Drop(key string) {
	if at, ok := b.index[key]; ok {
		b.drop(at)
	}
}

// Reset forgets everything.
func (b *Bases[T]) Reset() {
	b.index, b.nodes, b.free, b.bytes = map[string]int32{}, make([]baseNode[T], 1), nil, 0
}

// Len is the number of keys that have a base, Bytes the sum of their sizes.
func (b *Bases[T]) Len() int   { return len(b.index) }
func (b *Bases[T]) Bytes() int { return b.bytes }

func (b *Bases[T]) drop(at int32) {
	b.unlink(at)
	n := &b.nodes[at]
	b.bytes -= n.size
	delete(b.index, n.key)
	*n = baseNode[T]{}
	b.free = append(b.free, at)
}

func (b *Bases[T]) link(at int32) {
	last := b.nodes[0].prev
	b.nodes[at].prev, b.nodes[at].next = last, 0
	b.nodes[last].next = at
	b.nodes[0].prev = at
}

func (b *Bases[T]) unlink(at int32) {
	n := &b.nodes[at]
	b.nodes[n.prev].next = n.next
	b.nodes[n.next].prev = n.prev
}
