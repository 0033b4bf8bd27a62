package delta

import (
	"strings"
	"time"
)

// MaxOlder is the largest number of older publications kept per key.
const MaxOlder = 8

// Limits bound the bases of one channel.
type Limits struct {
	// Keys is the largest number of conflation values, at least 1. Beyond it
	// the least recently published ones are forgotten.
	Keys int
	// Bytes is the largest sum of the sizes of all kept publications.
	Bytes int
	// Age is the age at which a base is no longer used; 0 means never.
	Age time.Duration
	// Older is the number of publications that are kept per key besides the
	// last one, 0 to [MaxOlder]. They serve sockets that have not received
	// the last one.
	Older int
}

// Base is a publication that deltas may be based on.
type Base[T any] struct {
	Offset uint64
	Time   time.Time
	Value  T
}

// Bases remembers the last publications of each conflation value of one channel.
//
// Its answers depend only on its limits and on what was put in, so all gateways
// forget the same publications; reads change nothing. When it is too large, the
// key of the latest Put first gives up its own older publications, then the least
// recently published keys are dropped completely. A Put for a known key does not
// allocate. It has no lock: only one goroutine at a time may use it.
type Bases[T any] struct {
	limits Limits
	index  map[string]int32
	// nodes[0] is the anchor of the list of keys by recency: next is the least
	// recently published one, prev the last one. Free nodes are chained by
	// next, from free on.
	nodes []baseNode
	free  int32
	// items has a ring of 1+Older publications for each node.
	items []baseItem[T]
	bytes int
}

type baseNode struct {
	key string
	// newest is the index of the last publication in the ring, count the number of publications.
	newest, count int
	prev, next    int32
}

type baseItem[T any] struct {
	Base[T]
	size int
}

// NewBases returns an empty store. Limits out of range are replaced by the nearest value in range.
func NewBases[T any](l Limits) *Bases[T] {
	l.Keys = max(l.Keys, 1)
	l.Older = min(max(l.Older, 0), MaxOlder)
	b := &Bases[T]{limits: l, index: map[string]int32{}}
	b.Reset()
	return b
}

// Get returns the last publication of a key, unless it is too old at now, the time of the publication to
// encode.
func (b *Bases[T]) Get(key string, now time.Time) (Base[T], bool) {
	at, ok := b.index[key]
	if !ok {
		return Base[T]{}, false
	}
	if item := b.item(at, 0); !b.expired(item.Time, now) {
		return item.Base, true
	}
	return Base[T]{}, false
}

// Recent writes the last publications of a key to into, newest first, and returns how many there are. It
// stops at the first one that is too old at now.
func (b *Bases[T]) Recent(key string, now time.Time, into []T) int {
	at, ok := b.index[key]
	if !ok {
		return 0
	}
	n := 0
	for n < len(into) && n < b.nodes[at].count {
		item := b.item(at, n)
		if b.expired(item.Time, now) {
			break
		}
		into[n] = item.Value
		n++
	}
	return n
}

// Put makes a publication the last one of its key. size is its memory use in bytes; a publication larger than
// the limit is not kept and leaves the key without a base. Keys that are too old at time t are forgotten.
func (b *Bases[T]) Put(key string, offset uint64, t time.Time, value T, size int) {
	b.Expire(t)
	size = max(size, 0)
	at, known := b.index[key]
	if size > b.limits.Bytes {
		if known {
			b.drop(at)
		}
		return
	}
	if known {
		b.unlink(at)
	} else {
		at = b.take(strings.Clone(key))
	}
	n := &b.nodes[at]
	width := 1 + b.limits.Older
	for n.count == width || n.count > 0 && (b.bytes+size > b.limits.Bytes || b.expired(b.item(at, n.count-1).Time, t)) {
		b.dropOldest(at)
	}
	n.newest = (n.newest + 1) % width
	n.count++
	b.bytes += size
	*b.item(at, 0) = baseItem[T]{Base[T]{offset, t, value}, size}
	b.link(at)
	for len(b.index) > b.limits.Keys || b.bytes > b.limits.Bytes {
		b.drop(b.nodes[0].next)
	}
}

// Drop forgets all publications of a key.
func (b *Bases[T]) Drop(key string) {
	if at, ok := b.index[key]; ok {
		b.drop(at)
	}
}

// Expire forgets the keys whose last publication is too old at now. Put does so too; the owner of a silent
// channel calls it from time to time.
func (b *Bases[T]) Expire(now time.Time) {
	for {
		at := b.nodes[0].next
		if at == 0 || !b.expired(b.item(at, 0).Time, now) {
			return
		}
		b.drop(at)
	}
}

// Reset forgets everything and keeps the memory for reuse.
func (b *Bases[T]) Reset() {
	clear(b.index)
	clear(b.nodes)
	clear(b.items)
	if b.nodes == nil {
		b.nodes = make([]baseNode, 1)
		b.items = make([]baseItem[T], 1+b.limits.Older)
	}
	b.nodes, b.items = b.nodes[:1], b.items[:1+b.limits.Older]
	b.free, b.bytes = 0, 0
}

// Len returns the number of keys that have a base.
func (b *Bases[T]) Len() int { return len(b.index) }

// Bytes returns the sum of the sizes of all kept publications.
func (b *Bases[T]) Bytes() int { return b.bytes }

func (b *Bases[T]) expired(t, now time.Time) bool {
	return b.limits.Age > 0 && now.Sub(t) >= b.limits.Age
}

// item returns the publication of a node that is back places older than its last.
func (b *Bases[T]) item(at int32, back int) *baseItem[T] {
	width := 1 + b.limits.Older
	return &b.items[int(at)*width+(b.nodes[at].newest-back+width)%width]
}

func (b *Bases[T]) dropOldest(at int32) {
	n := &b.nodes[at]
	item := b.item(at, n.count-1)
	b.bytes -= item.size
	*item = baseItem[T]{}
	n.count--
}

// take allocates a node for a new key.
func (b *Bases[T]) take(key string) int32 {
	at := b.free
	if at != 0 {
		b.free = b.nodes[at].next
	} else {
		at = int32(len(b.nodes))
		b.nodes = append(b.nodes, baseNode{})
		for range 1 + b.limits.Older {
			b.items = append(b.items, baseItem[T]{})
		}
	}
	b.nodes[at] = baseNode{key: key}
	b.index[key] = at
	return at
}

func (b *Bases[T]) drop(at int32) {
	b.unlink(at)
	for b.nodes[at].count > 0 {
		b.dropOldest(at)
	}
	delete(b.index, b.nodes[at].key)
	b.nodes[at] = baseNode{next: b.free}
	b.free = at
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
