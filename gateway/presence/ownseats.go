package presence

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// writers is the number of seats that are written at a time.
	writers = 32
	// writeTimeout bounds one attempt to write a seat.
	writeTimeout = 5 * time.Second
)

// ownSeat is a seat of this gateway: what it should be, and what the table has. The
// writes of one seat follow each other; what changes meanwhile is written once.
type ownSeat struct {
	seat seat

	mu rank.Mutex[rank.OwnSeat]
	// wanted is nil for given up. It changes under the lock of all as well.
	wanted *content
	// stored is what the table has, nil for nothing or a seat that is given up, at
	// revision.
	stored   *content
	revision uint64
	// since is the revision with which what is stored was stored first, 0 if that
	// is void, and first the one with which the seat was held first.
	since, first uint64
	// again is set while what is stored is to be written again, as it is, and lost while
	// the table has nothing and rooms may believe otherwise, or while it is not known whether it has something.
	again, lost, queued bool
	// resting is set for a while after it was written, see [countRest].
	resting bool
	moved   chan struct{} // closed and replaced when stored changes
}

// state returns the revision of what is wanted, 0 while it is not stored, and what is
// closed when that changes.
func (c *ownSeat) state() (<-chan struct{}, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted == nil || c.stored != c.wanted {
		return c.moved, 0
	}
	return c.moved, c.revision
}

// set says what a seat should be from now on, nil for given up, and returns it.
// Without change the seat keeps what it was to be, if it was to be anything.
func (r *Roster) set(s seat, change bool, to *content) *ownSeat {
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	return r.want(s, change, to)
}

// want is set for who holds the lock.
func (r *Roster) want(s seat, change bool, to *content) *ownSeat {
	c := r.own[s]
	if c == nil {
		c = &ownSeat{seat: s, moved: make(chan struct{})}
		r.own[s] = c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if change || c.wanted == nil && to != nil {
		c.wanted = to
		r.enqueue(c)
	}
	return c
}

// enqueue lets a writer look at a seat, unless it rests. The caller holds both locks.
func (r *Roster) enqueue(c *ownSeat) {
	if !c.queued && !c.rests() {
		c.queued = true
		r.dirty = append(r.dirty, c)
		r.work.Signal()
	}
}

// write is one of the writers.
func (r *Roster) write() {
	for {
		r.ownMu.Lock()
		for len(r.dirty) == 0 && r.ctx.Err() == nil {
			r.work.Wait()
		}
		if r.ctx.Err() != nil {
			r.ownMu.Unlock()
			return
		}
		c := r.dirty[0]
		r.dirty[0] = nil
		if r.dirty = r.dirty[1:]; len(r.dirty) == 0 {
			r.dirty = nil
		}
		r.busy++
		r.ownMu.Unlock()
		err := r.store(c)
		r.ownMu.Lock()
		c.mu.Lock()
		c.queued = false
		if err == nil {
			r.rest(c)
		}
		switch {
		case c.wanted != c.stored || c.again || c.lost:
			r.enqueue(c)
		case c.wanted == nil && r.own[c.seat] == c:
			delete(r.own, c.seat)
		}
		c.mu.Unlock()
		r.busy--
		if len(r.dirty) == 0 && r.busy == 0 {
			close(r.settled)
			r.settled = make(chan struct{})
		}
		r.ownMu.Unlock()
		if err != nil {
			r.warn("writing presence failed; it is tried again", err)
			select {
			case <-r.ctx.Done():
			case <-time.After(retryWait):
			}
		}
	}
}

// retryWait is the pause of a writer after a failure.
const retryWait = 250 * time.Millisecond

// store brings the table up to what is wanted. A record that a seat was given up stays
// until all that came before it is void: what it covers is not gone from a store that
// recovers.
func (r *Roster) store(c *ownSeat) error {
	c.mu.Lock()
	wanted, stored, since, first, again, lost := c.wanted, c.stored, c.since, c.first, c.again, c.lost
	c.mu.Unlock()
	if wanted == stored && !again && !lost {
		return nil
	}
	n := content{User: c.seat.user, Gone: true, Since: since}
	if n.User == "" {
		n.First = first // Who buries this gateway may owe that it was occupied.
	}
	if wanted != nil {
		n = *wanted
		if again && wanted == stored || stored != nil && n.User != "" {
			n.Since = since
		}
		if stored != nil && n.User == "" {
			n.First = first
		}
	}
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, writeTimeout)
	defer cancel()
	revision, err := r.opt.Table.Put(ctx, c.seat.key(), value, 0)
	if err != nil {
		// It may be stored. If it is given up before it is tried again, the table has to be told.
		c.mu.Lock()
		c.lost = c.stored == nil
		c.mu.Unlock()
		return err
	}
	r.metrics.writes.Add(1)
	r.ownMu.Lock()
	if wanted == nil {
		r.tombs++
	}
	r.ownMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored, c.revision, c.since, c.first, c.again, c.lost = wanted, revision, cause(revision, n), beginning(revision, n), false, false
	if wanted != nil && revision <= r.floor.Load() {
		c.stored = nil // others take it for void
	}
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

// rewrite writes again what the table has lost: all seats, or those for which lacks
// says so.
func (r *Roster) rewrite(lacks func(s seat, revision uint64) bool) {
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	for _, c := range r.own {
		c.mu.Lock()
		if c.stored != nil && lacks(c.seat, c.revision) {
			r.lose(c)
		}
		c.mu.Unlock()
	}
}

// assert writes a seat of this gateway again if it is held and the table, which has it at
// a revision, has lost what was written last. It reports whether the seat is held.
func (r *Roster) assert(s seat, revision uint64) bool {
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	c := r.own[s]
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stored != nil && c.revision > revision {
		r.lose(c)
	}
	return c.wanted != nil
}

// lose notes that the table has nothing of a seat. The caller holds both locks.
func (r *Roster) lose(c *ownSeat) {
	c.stored, c.lost = nil, true
	close(c.moved)
	c.moved = make(chan struct{})
	r.enqueue(c)
}

// disown gives up a seat that the table says this gateway holds, if it does not. A table
// that was restored remembers what was given up since.
func (r *Roster) disown(s seat, h latest) {
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	if r.own[s] != nil {
		return
	}
	c := &ownSeat{seat: s, stored: &h.content, revision: h.revision, since: cause(h.revision, h.content), moved: make(chan struct{})}
	r.own[s] = c
	r.enqueue(c)
}

// flush waits until everything is written, or ctx is done. Nothing rests for it.
func (r *Roster) flush(ctx context.Context) {
	for {
		r.ownMu.Lock()
		r.rouse(time.Now().Add(countRest))
		idle, settled := len(r.dirty) == 0 && r.busy == 0, r.settled
		r.ownMu.Unlock()
		if idle {
			return
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return
		}
	}
}

// SetCount says the number of subscriptions that this gateway has in a channel, and that no
// other one is about to begin. It does not wait.
func (r *Roster) SetCount(app, channel string, n int) { r.SetCounts(app, channel, n, 0) }

// SetCounts is SetCount with so many more that are about to begin: whoever asks this gateway
// is told of them already, and everybody else when they have begun.
func (r *Roster) SetCounts(app, channel string, n, coming int) {
	s := seat{app, channel, r.opt.Node, ""}
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	had := r.here(s) - r.coming[s]
	if r.coming[s] = coming; coming == 0 {
		delete(r.coming, s)
	}
	var to *content
	if n > 0 {
		to = &content{Count: n}
	}
	if n != had {
		r.want(s, true, to)
	}
}

// Told waits until the table has the number of subscriptions that this gateway has in a channel,
// or had since it was called, so that others know of it, or for [Options.ToldWithin].
func (r *Roster) Told(app, channel string) {
	ctx, cancel := context.WithTimeout(r.ctx, r.opt.ToldWithin)
	defer cancel()
	s := seat{app, channel, r.opt.Node, ""}
	r.ownMu.Lock()
	c := r.own[s]
	var wanted *content
	if c != nil {
		wanted = c.wanted
	}
	r.ownMu.Unlock()
	for wanted != nil {
		moved, there := c.has(wanted)
		if there {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// has says whether a number of subscriptions is stored, or a later one that is not smaller, or
// what is wanted by now, and returns what is closed when that changes.
func (c *ownSeat) has(n *content) (<-chan struct{}, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved, c.stored == c.wanted || c.stored != nil && c.stored.Count >= n.Count
}
