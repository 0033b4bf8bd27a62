package fanout

import (
	"cmp"
	"slices"

	"github.com/sluicehq/sluice/gateway/socket"
)

// maxNotices is the number of notices that wait for a socket that is behind.
const maxNotices = 256

// waitingRoom is the memory that a waiting publication takes for each socket, in addition to what all sockets
// share, in bytes.
const waitingRoom = 160

// queue is what waits for a socket that is behind. All of it counts in the budget of slow sockets.
type queue struct {
	// newest has one publication per conflation value.
	newest map[string]*Event
	// skipped counts the publications that were replaced by newer ones since the client was last told. first
	// and last are the lowest and the highest of their offsets.
	skipped     int
	first, last uint64
	// notices are the notices that came meanwhile.
	notices []*socket.Frame
	budget  *socket.Budget
}

// put adds a publication. It replaces an older one of the same conflation value, and reports whether there
// was one.
func (q *queue) put(p *Event, budget *socket.Budget) (replaced bool) {
	if q.newest == nil {
		q.newest = map[string]*Event{}
	}
	q.budget = budget
	old := q.newest[p.Key]
	if old != nil {
		old.release(budget)
		q.skipped++
		if q.first == 0 || old.Pub.Offset < q.first {
			q.first = old.Pub.Offset
		}
		q.last = max(q.last, old.Pub.Offset)
	}
	q.newest[p.Key] = p
	p.hold(budget)
	return old != nil
}

// before returns the offset before everything that waits or was skipped without being reported.
func (q *queue) before() uint64 {
	first := q.first
	for _, p := range q.newest {
		if first == 0 || p.Pub.Offset < first {
			first = p.Pub.Offset
		}
	}
	return max(first, 1) - 1
}

// take removes a publication that waits no longer.
func (q *queue) take(p *Event) {
	if old := q.newest[p.Key]; old != nil {
		old.release(q.budget)
		delete(q.newest, p.Key)
	}
}

// inOrder lists the publications in log order.
func (q *queue) inOrder() []*Event {
	all := make([]*Event, 0, len(q.newest))
	for _, p := range q.newest {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Event) int { return cmp.Compare(a.Pub.Offset, b.Pub.Offset) })
	return all
}

// told notes that the client was told of all that was skipped.
func (q *queue) told() { q.skipped, q.first, q.last = 0, 0, 0 }

// note keeps the frames of a notice, and reports whether too many wait.
func (q *queue) note(frames []*socket.Frame, budget *socket.Budget) (tooMany bool) {
	q.budget = budget
	for _, f := range frames {
		budget.HoldFrame(f)
	}
	q.notices = append(q.notices, frames...)
	return len(q.notices) > maxNotices
}

// discard empties the queue.
func (q *queue) discard() {
	for _, p := range q.newest {
		p.release(q.budget)
	}
	for _, f := range q.notices {
		q.budget.ReleaseFrame(f)
	}
	q.newest, q.notices = nil, nil
	q.told() // What was skipped is not reported any more.
}

// hold counts in the budget that one more socket waits for the publication. Its frames and bases stay in
// memory with it.
func (p *Event) hold(in *socket.Budget) { in.Hold(&p.waits, 2*int64(p.weight()), waitingRoom) }

func (p *Event) release(in *socket.Budget) { in.Release(&p.waits, 2*int64(p.weight()), waitingRoom) }
