package backlog

import (
	"slices"
	"sort"
	"time"
)

// Latest is the fold of a channel: the newest publication of every conflation value, in log order. Make it
// with [NewLatest].
//
// A subscription reads it from place 0 to the end of the channel. A newer publication that replaces one
// meanwhile is further on. So at the end the subscription has the newest publication of each value, and got
// nothing twice.
type Latest[T Item] struct {
	limits Limits
	// slots are in log order; those of values that have a newer publication are empty.
	slots []slot[T]
	// index has the index in slots of each value. Slots before head are empty.
	index map[string]int
	head  int
	bytes int
	// partial is set when values were dropped or never read because of the limits.
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

// Put adds the next publication of the channel. A publication that is not above the last one is ignored.
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

// Shrink drops the oldest values up to the place through until at most that many bytes are kept, and reports
// whether that was possible.
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

// Old is a publication that was read from the log, with its conflation value.
type Old[T Item] struct {
	Key  string
	Item T
}

// Fill adds publications of the log from before the first Put, newest first. Only the first one of each value
// counts, and none if the value has one already. complete says that the log has no more.
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

// Cut drops everything below an offset, which the log does not have any more.
func (l *Latest[T]) Cut(oldest uint64) {
	for i := range l.slots {
		if l.slots[i].place >= oldest {
			break
		}
		l.empty(i)
	}
	l.compact()
}

// Expire drops what the log stored before a time.
func (l *Latest[T]) Expire(before time.Time) {
	for i := range l.slots {
		if l.slots[i].full && l.slots[i].item.Stored().Before(before) {
			l.empty(i)
		}
	}
	l.compact()
}

// Reset forgets everything, for a new epoch.
func (l *Latest[T]) Reset() {
	*l = *NewLatest[T](l.limits)
}

// Len returns the number of values.
func (l *Latest[T]) Len() int { return len(l.index) }

// Bytes returns the sum of the sizes of the items.
func (l *Latest[T]) Bytes() int { return l.bytes }

// Partial reports whether values are missing, because there were more than are kept.
func (l *Latest[T]) Partial() bool { return l.partial }

// AppendAfter appends up to most items after a place to dst, oldest first, and returns the place of the last
// of them. end reports that there are no more.
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

// oldest returns the index of the first slot that is not empty. There must be one.
func (l *Latest[T]) oldest() int {
	for !l.slots[l.head].full {
		l.head++
	}
	return l.head
}

// empty drops the item of a slot.
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

// compact removes the empty slots.
func (l *Latest[T]) compact() {
	l.slots = slices.DeleteFunc(l.slots, func(s slot[T]) bool { return !s.full })
	for i := range l.slots {
		l.index[l.slots[i].key] = i
	}
	l.head = 0
}
