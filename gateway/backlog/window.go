package backlog

import (
	"slices"
	"sort"
	"time"
)

// Window is the unbroken end of a channel: all publications above Low up to High, except those that sockets
// do not get. Make it with [NewWindow].
type Window[T Item] struct {
	limits    Limits
	items     []T
	low, high uint64
	bytes     int
}

// NewWindow returns an empty window that begins at place 0.
func NewWindow[T Item](limits Limits) *Window[T] { return &Window[T]{limits: limits} }

// Begin forgets everything. The next item follows place.
func (w *Window[T]) Begin(place uint64) {
	clear(w.items)
	w.items, w.bytes = w.items[:0], 0
	w.low, w.high = place, place
}

// Append adds the next publication of the channel. One that is not above High is ignored.
func (w *Window[T]) Append(item T) {
	if item.Place() <= w.high {
		return
	}
	w.high = item.Place()
	w.items = append(w.items, item)
	w.bytes += item.Size()
	w.trim()
}

// Skip notes that sockets get no publication up to that offset.
func (w *Window[T]) Skip(offset uint64) { w.high = max(w.high, offset) }

// Prepend adds older items from the log, oldest first. They must be complete from after to Low or beyond. It
// keeps the newest of them for which there is room.
func (w *Window[T]) Prepend(after uint64, items []T) {
	n := sort.Search(len(items), func(i int) bool { return items[i].Place() > w.low })
	first, size := n, 0
	for first > 0 && len(w.items)+n-first < w.limits.Items && w.bytes+size+items[first-1].Size() <= w.limits.Bytes {
		first--
		size += items[first].Size()
	}
	switch {
	case first > 0:
		w.low = items[first-1].Place()
	case after < w.low:
		w.low = after
	}
	w.items = slices.Insert(w.items, 0, items[first:n]...)
	w.bytes += size
}

// Expire drops what the log stored before a time.
func (w *Window[T]) Expire(before time.Time) {
	n := 0
	for n < len(w.items) && w.items[n].Stored().Before(before) {
		n++
	}
	w.drop(n)
}

// trim enforces the limits.
func (w *Window[T]) trim() {
	n, size := 0, w.bytes
	for len(w.items)-n > w.limits.Items || size > w.limits.Bytes {
		size -= w.items[n].Size()
		n++
	}
	w.drop(n)
}

// drop drops the oldest n items.
func (w *Window[T]) drop(n int) {
	if n == 0 {
		return
	}
	for _, item := range w.items[:n] {
		w.bytes -= item.Size()
	}
	w.low = w.items[n-1].Place()
	clear(w.items[:n])
	w.items = w.items[n:]
}

// Low returns the place after which the window is complete.
func (w *Window[T]) Low() uint64 { return w.low }

// High returns the place up to which the window is complete.
func (w *Window[T]) High() uint64 { return w.high }

// Len returns the number of items.
func (w *Window[T]) Len() int { return len(w.items) }

// Bytes returns the sum of the sizes of the items.
func (w *Window[T]) Bytes() int { return w.bytes }

// Covers reports whether the window has everything after a place.
func (w *Window[T]) Covers(place uint64) bool { return place >= w.low }

// Count returns the number of items after a place.
func (w *Window[T]) Count(place uint64) int { return len(w.items) - w.index(place) }

// AppendAfter appends up to most of the items after place to dst, oldest first, and returns the place that
// they reach. The window must cover place.
func (w *Window[T]) AppendAfter(dst []T, place uint64, most int) ([]T, uint64) {
	first := w.index(place)
	end := min(first+most, len(w.items))
	dst = append(dst, w.items[first:end]...)
	if end == len(w.items) {
		return dst, max(place, w.high)
	}
	return dst, dst[len(dst)-1].Place()
}

// Last returns the place before the last n items at or below at, and whether the window has that many.
func (w *Window[T]) Last(n int, at uint64) (place uint64, ok bool) {
	first := w.index(at) - n
	switch {
	case first < 0:
		return w.low, false
	case first == 0:
		return w.low, true
	}
	return w.items[first-1].Place(), true
}

// Since returns the place before the first item that was stored at t or later, and whether the window reaches
// back that far. Times of the log may go back a little; everything after that item is included.
func (w *Window[T]) Since(t time.Time) (place uint64, ok bool) {
	for i, item := range w.items {
		if item.Stored().Before(t) {
			continue
		}
		if i == 0 {
			return w.low, false
		}
		return w.items[i-1].Place(), true
	}
	return w.high, len(w.items) > 0
}

// index returns the index of the first item above a place.
func (w *Window[T]) index(place uint64) int {
	return sort.Search(len(w.items), func(i int) bool { return w.items[i].Place() > place })
}
