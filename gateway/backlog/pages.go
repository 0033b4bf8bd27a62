package backlog

import "sort"

// maxPages is how many pages are kept: those who are behind in one channel are at few
// places at a time.
const maxPages = 4

// page is what the log has after a place up to another one.
type page[T Item] struct {
	after, through uint64
	items          []T
}

// waiter waits for what comes after a place.
type waiter[W comparable] struct {
	place uint64
	who   W
}

// Pages are pieces of the log that those who are behind share. One is read at a time, from
// the lowest place that somebody waits for, so whoever came meanwhile is served by the
// next one, however many they are. The zero value is empty.
type Pages[T Item, W comparable] struct {
	pages   []page[T]
	size    int
	waiting []waiter[W]
	// index is where somebody waits.
	index   map[W]int
	reading bool
}

// find returns the page that has what comes after a place.
func (p *Pages[T, W]) find(place uint64) *page[T] {
	for i := range p.pages {
		if g := &p.pages[i]; g.after <= place && place < g.through {
			return g
		}
	}
	return nil
}

// appendAfter appends up to most of the items of a page after a place, and returns the
// place that they reach.
func (g *page[T]) appendAfter(dst []T, place uint64, most int) ([]T, uint64) {
	first := sort.Search(len(g.items), func(i int) bool { return g.items[i].Place() > place })
	end := min(first+most, len(g.items))
	dst = append(dst, g.items[first:end]...)
	if end == len(g.items) {
		return dst, g.through
	}
	return dst, dst[len(dst)-1].Place()
}

// wait notes who waits for what comes after a place.
func (p *Pages[T, W]) wait(place uint64, who W) {
	if i, ok := p.index[who]; ok {
		p.waiting[i].place = place
		return
	}
	if p.index == nil {
		p.index = map[W]int{}
	}
	p.index[who] = len(p.waiting)
	p.waiting = append(p.waiting, waiter[W]{place, who})
}

// Leave forgets somebody who waits no longer.
func (p *Pages[T, W]) Leave(who W) {
	i, ok := p.index[who]
	if !ok {
		return
	}
	delete(p.index, who)
	last := len(p.waiting) - 1
	if i != last {
		p.waiting[i] = p.waiting[last]
		p.index[p.waiting[i].who] = i
	}
	p.waiting[last] = waiter[W]{}
	p.waiting = p.waiting[:last]
}

// Next is the place after which the log must be read for those who wait. It reports false
// when nobody waits or something is being read already; otherwise the caller reads, and
// gives what it found to [Backlog.Read].
func (p *Pages[T, W]) Next() (place uint64, ok bool) {
	if p.reading || len(p.waiting) == 0 {
		return 0, false
	}
	place = p.waiting[0].place
	for _, w := range p.waiting[1:] {
		place = min(place, w.place)
	}
	p.reading = true
	return place, true
}

// keep adds a page, in the place of the oldest one if there are too many.
func (p *Pages[T, W]) keep(g page[T]) {
	p.Forget(maxPages - 1)
	p.pages = append(p.pages, g)
	p.size += g.size()
}

// Forget lets go of the oldest pages but so many.
func (p *Pages[T, W]) Forget(but int) {
	n := max(len(p.pages)-but, 0)
	for i := range n {
		p.size -= p.pages[i].size()
	}
	rest := copy(p.pages, p.pages[n:])
	clear(p.pages[rest:])
	p.pages = p.pages[:rest]
}

// PageBytes is the sum of the sizes of what the pages have.
func (p *Pages[T, W]) PageBytes() int { return p.size }

func (g *page[T]) size() (n int) {
	for _, item := range g.items {
		n += item.Size()
	}
	return n
}

// serve takes those out whose wait is over.
func (p *Pages[T, W]) serve(over func(place uint64) bool) []W {
	var served []W
	rest := p.waiting[:0]
	for _, w := range p.waiting {
		if over(w.place) {
			served = append(served, w.who)
			delete(p.index, w.who)
		} else {
			p.index[w.who] = len(rest)
			rest = append(rest, w)
		}
	}
	clear(p.waiting[len(rest):])
	p.waiting = rest
	return served
}
