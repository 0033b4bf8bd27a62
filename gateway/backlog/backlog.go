package backlog

// Backlog is what is known of a channel's past: its window, and pages of the log below the window. W
// identifies those that are behind. Make it with [New].
type Backlog[T Item, W comparable] struct {
	*Window[T]
	Pages[T, W]
}

// New returns an empty backlog.
func New[T Item, W comparable](limits Limits) *Backlog[T, W] {
	return &Backlog[T, W]{Window: NewWindow[T](limits)}
}

// Begin forgets the whole past. It returns all waiters, because what they wait for will not come.
func (b *Backlog[T, W]) Begin(place uint64) []W {
	b.Window.Begin(place)
	b.Forget(0)
	return b.serve(func(uint64) bool { return true })
}

// After appends up to most items after a place to dst, and returns the place that they reach, which is above
// the given one unless that is the end. It reports false if the log must be read first. Then it adds who to
// the waiters, until [Backlog.Read] returns it.
func (b *Backlog[T, W]) After(dst []T, place uint64, most int, who W) (items []T, reached uint64, ok bool) {
	if b.Covers(place) {
		dst, reached = b.AppendAfter(dst, place, most)
		return dst, reached, true
	}
	if g := b.find(place); g != nil {
		dst, reached = g.appendAfter(dst, place, most)
		return dst, reached, true
	}
	b.wait(place, who)
	return dst, place, false
}

// Known appends everything that is known without a gap after a place to dst, and returns the place that this
// reaches.
func (b *Backlog[T, W]) Known(dst []T, place uint64) (items []T, reached uint64) {
	for !b.Covers(place) {
		g := b.find(place)
		if g == nil {
			return dst, place
		}
		dst, place = g.appendAfter(dst, place, len(g.items))
	}
	return b.AppendAfter(dst, place, b.Len())
}

// Await adds who to the waiters for a page after a place, even if the items are known.
func (b *Backlog[T, W]) Await(place uint64, who W) { b.wait(place, who) }

// Read does what [Backlog.Learn] does, with what the caller has read because of [Pages.Next].
func (b *Backlog[T, W]) Read(after uint64, items []T, through uint64) []W {
	b.reading = false
	return b.Learn(after, items, through)
}

// Learn adds what the log has after a place, oldest first. The items are complete up to the place through,
// which is at least that of the last item and above after. It returns the waiters that can continue.
func (b *Backlog[T, W]) Learn(after uint64, items []T, through uint64) []W {
	if through >= b.Low() {
		b.Prepend(after, items)
	}
	if after < b.Low() {
		b.keep(page[T]{after, min(through, b.Low()), below(items, b.Low())})
	}
	return b.serve(func(place uint64) bool { return b.Covers(place) || b.find(place) != nil })
}

// Failed notes that the log could not be read for the waiters at the places for which whom reports true, nil
// for all. It returns these waiters.
func (b *Backlog[T, W]) Failed(whom func(place uint64) bool) []W {
	b.reading = false
	if whom == nil {
		whom = func(uint64) bool { return true }
	}
	return b.serve(whom)
}

// below returns the items at or below a place.
func below[T Item](items []T, place uint64) []T {
	n := len(items)
	for n > 0 && items[n-1].Place() > place {
		n--
	}
	return items[:n:n]
}
