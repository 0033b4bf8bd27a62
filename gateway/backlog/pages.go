package backlog

import "sort"

// maxPages is the number of pages that are kept. Subscriptions of one channel that are behind are at few
// places at a time.
const maxPages = 4

// page is what the log has after one place up to another.
type page[T Item] struct {
	after, through uint64
	items          []T
}

// waiter waits for what follows a place.
type waiter[W comparable] struct {
	place uint64
	who   W
}

// Pages are pieces of the log that subscriptions share while they are behind. One page is read at a time,
// from the lowest place for which there is a waiter, so the next page serves all that came meanwhile, however
// many they are. The zero value is empty.
type Pages[T Item, W comparable] struct {
	pages   []page[T]
	size    int
	waiting []waiter[W]
	// index has the index in waiting of each waiter.
	index   map[W]int
	reading bool
}

// find returns the page that has what follows a place, or nil.
func (p *Pages[T, W]) find(place uint64) *page[T] {
	for i := range p.pages {
		if g := &p.pages[i]; g.after <= place && place < g.through {
			return g
		}
	}
	return nil
}

// appendAfter appends up to most of the page's items after a place, and returns the place that they reach.
func (g *page[T]) appendAfter(dst []T, place uint64, most int) ([]T, uint64) {
	first := sort.Search(len(g.items), func(i int) bool { return g.items[i].Place() > place })
	end := min(first+most, len(g.items))
	dst = append(dst, g.items[first:end]...)
	if end == len(g.items) {
		return dst, g.through
	}
	return dst, dst[len(dst)-1].Place()
}

// wait adds who to the waiters at a place, or moves it there.
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

// Leave removes a waiter.
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

// Next returns the place after which the log must be read for the waiters. It reports false if there are none
// or a reading is in progress. Otherwise the caller must read and call [Backlog.Read] or [Backlog.Failed].
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

// keep adds a page, and drops the oldest one if there are too many.
func (p *Pages[T, W]) keep(g page[T]) {
	p.Forget(maxPages - 1)
	p.pages = append(p.pages, g)
	p.size += g.size()
}

// Forget drops the oldest pages until at most but are left.
func (p *Pages[T, W]) Forget(but int) {
	n := max(len(p.pages)-but, 0)
	for i := range n {
		p.size -= p.pages[i].size()
	}
	rest := copy(p.pages, p.pages[n:])
	clear(p.pages[rest:])
	p.pages = p.pages[:rest]
}

// PageBytes returns the sum of the sizes of the pages' items.
func (p *Pages[T, W]) PageBytes() int { return p.size }

func (g *page[T]) size() (n int) {
	for _, item := range g.items {
		n += item.Size()
	}
	return n
}

// serve removes and returns the waiters at the places for which over reports true.
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
