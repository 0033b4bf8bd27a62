package backlog

import (
	"slices"
	"sort"
	"time"
)

// Latest is the newest publication of every conflation value of a channel, in the order of
// the log: the fold of the channel. Make it with [NewLatest].
//
// Who joins walks it from place 0 to the end of the channel. What a newer publication
// replaces on the way stands further on, so that at the end he has the newest of each
// value, whatever was published meanwhile, and nothing twice.
type Latest[T Item] struct {
	limits Limits
	// slots are in the order of the log; those of values that have a newer one are empty.
	slots []slot[T]
	// index has the place in slots by value. Slots before head are empty.
	index map[string]int
	head  int
	bytes int
	// partial is set when values were let go because there were too many.
	partial bool
}

type slot[T Item] struct {
	place uint64
	key   string
	item  T
	full  bool
}

// NewLatest returns an empty fold.
func NewLatest[T Item](limits Limits) *Latest[T] {
	return &Latest[T]{limits: limits, index: map[string]int{}}
}

// Put adds the next publication of the channel.
func (l *Latest[T]) Put(key string, item T) {
	if n := len(l.slots); n > 0 && item.Place() <= l.slots[n-1].place {
		return
	}
	if i, ok := l.index[key]; ok {
		l.empty(i)
	}
	l.index[key] = len(l.slots)
	l.slots = append(l.slots, slot[T]{item.Place(), key, item, true})
	l.bytes += item.Size()
	for l.Len() > l.limits.Items || l.bytes > l.limits.Bytes {
		l.empty(l.oldest())
		l.partial = true
	}
	if len(l.slots) > 64 && l.Len() < len(l.slots)/2 {
		l.compact()
	}
}

// Shrink lets go of the oldest values up to a place until no more than so many bytes are kept, and
// reports whether that was enough.
func (l *Latest[T]) Shrink(bytes int, through uint64) bool {
	for l.bytes > bytes && l.Len() > 0 {
		i := l.oldest()
		if l.slots[i].place > through {
			return false
		}
		l.empty(i)
		l.partial = true
	}
	return l.bytes <= bytes
}

// Old is a publication that was read from the log.
type Old[T Item] struct {
	Key  string
	Item T
}

// Fill adds what the log has from before the first publication that was put, newest first.
// Of each value that is not there yet the first one counts. complete says that the log
// has no more.
func (l *Latest[T]) Fill(past []Old[T], complete bool) {
	var older []slot[T]
	for _, o := range past {
		if _, ok := l.index[o.Key]; ok {
			continue
		}
		if l.Len() >= l.limits.Items || l.bytes+o.Item.Size() > l.limits.Bytes {
			l.partial = true
			break
		}
		l.index[o.Key] = 0
		l.bytes += o.Item.Size()
		older = append(older, slot[T]{o.Item.Place(), o.Key, o.Item, true})
	}
	if !complete {
		l.partial = true
	}
	slices.Reverse(older)
	l.slots = append(older, l.slots...)
	l.compact()
}

// Cut lets go of what lies below an offset, which the log does not have any more.
func (l *Latest[T]) Cut(oldest uint64) {
	for i := range l.slots {
		if l.slots[i].place >= oldest {
			break
		}
		l.empty(i)
	}
	l.compact()
}

// Expire lets go of what the log stored before a time.
func (l *Latest[T]) Expire(before time.Time) {
	for i := range l.slots {
		if l.slots[i].full && l.slots[i].item.Stored().Before(before) {
			l.empty(i)
		}
	}
	l.compact()
}

// Reset forgets everything, because the channel began a new life.
func (l *Latest[T]) Reset() {
	*l = *NewLatest[T](l.limits)
}

// Len is the number of values.
func (l *Latest[T]) Len() int { return len(l.index) }

// Bytes is the sum of the sizes of what is kept.
func (l *Latest[T]) Bytes() int { return l.bytes }

// Partial reports that values are missing, because there were more than are kept.
func (l *Latest[T]) Partial() bool { return l.partial }

// AppendAfter appends up to most items after a place to dst, oldest first, and returns the
// place of the last of them. It reports true when there are no more.
func (l *Latest[T]) AppendAfter(dst []T, place uint64, most int) (items []T, reached uint64, end bool) {
	i := sort.Search(len(l.slots), func(i int) bool { return l.slots[i].place > place })
	for ; i < len(l.slots); i++ {
		s := &l.slots[i]
		if !s.full {
			continue
		}
		if most == 0 {
			return dst, place, false
		}
		dst = append(dst, s.item)
		place = s.place
		most--
	}
	return dst, place, true
}

// oldest is the first slot that is not empty. There must be one.
func (l *Latest[T]) oldest() int {
	for !l.slots[l.head].full {
		l.head++
	}
	return l.head
}

// empty lets go of the item in a slot.
func (l *Latest[T]) empty(i int) {
	s := &l.slots[i]
	if !s.full {
		return
	}
	var none T
	l.bytes -= s.item.Size()
	delete(l.index, s.key)
	s.item, s.key, s.full = none, "", false
}

// compact takes the empty slots out.
func (l *Latest[T]) compact() {
	l.slots = slices.DeleteFunc(l.slots, func(s slot[T]) bool { return !s.full })
	for i := range l.slots {
		l.index[l.slots[i].key] = i
	}
	l.head = 0
}
