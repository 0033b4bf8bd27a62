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

// ownSeat is a seat of this gateway: what it should be, and what the table has. The writes of one seat are
// sequential; changes during a write are written together afterwards.
type ownSeat struct {
	seat seat

	mu rank.Mutex[rank.OwnSeat]
	// wanted is nil for a seat that is given up. It changes only with both locks held.
	wanted *content
	// stored is what the table has at revision, nil for nothing or a seat that is given up.
	stored   *content
	revision uint64
	// since is the revision with which the stored state was first stored, 0 if that is void. first is the
	// revision with which the seat was first held.
	since, first uint64
	// again is set while the stored state must be written again unchanged. lost is set while the table has
	// nothing and rooms may assume otherwise, or while it is not known whether the table has something.
	again, lost, queued bool
	// resting is set for a while after a write, see [countRest].
	resting bool
	moved   chan struct{} // closed and replaced when stored changes
}

// state returns the revision of the wanted state, 0 while that is not stored, and a channel that is closed
// when this changes.
func (c *ownSeat) state() (<-chan struct{}, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted == nil || c.stored != c.wanted {
		return c.moved, 0
	}
	return c.moved, c.revision
}

// set sets what a seat should be, nil for given up, and returns the seat. If change is false, a seat that is
// wanted already keeps its state.
func (r *Roster) set(s seat, change bool, to *content) *ownSeat {
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	return r.want(s, change, to)
}

// want is set for a caller that holds ownMu.
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

// enqueue queues a seat for the writers, unless it rests. The caller holds both locks.
func (r *Roster) enqueue(c *ownSeat) {
	if !c.queued && !c.rests() {
		c.queued = true
		r.dirty = append(r.dirty, c)
		r.work.Signal()
	}
}

// write is the goroutine of one writer.
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

// store writes the wanted state of a seat to the table. The record of a seat that was given up stays until
// everything before it is void, because a store that recovers may bring back what the record covers.
func (r *Roster) store(c *ownSeat) error {
	c.mu.Lock()
	wanted, stored, since, first, again, lost := c.wanted, c.stored, c.since, c.first, c.again, c.lost
	c.mu.Unlock()
	if wanted == stored && !again && !lost {
		return nil
	}
	n := content{User: c.seat.user, Gone: true, Since: since}
	if n.User == "" {
		n.First = first // A gateway that buries this one may have to tell that the seat occupied its channel.
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
		// It may have been stored. If the seat is given up before the next attempt, the table must still be
		// told.
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
		c.stored = nil // other gateways take it for void
	}
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

// rewrite writes the seats again that the table has lost, as lacks reports.
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

// assert writes a seat of this gateway again if it is held and the table, which has it at a revision, has
// lost the last write. It reports whether the seat is held.
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

// disown gives up a seat that this gateway holds according to the table, if it does not hold it. A table that
// was restored may have seats that were given up since.
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

// flush waits until everything is written, or ctx is done. It ends the rest of all seats.
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

// SetCount sets the number of subscriptions that this gateway has in a channel; no other one is about to
// begin. It does not wait.
func (r *Roster) SetCount(app, channel string, n int) { r.SetCounts(app, channel, n, 0) }

// SetCounts is SetCount with a number of subscriptions that are about to begin. Queries of this gateway count
// these already, other gateways only when they have begun.
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

// Told waits until the table has the present number of subscriptions of this gateway in a channel, or a later
// one, so that other gateways know of it. It waits [Options.ToldWithin] at most.
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

// has reports whether the number of subscriptions n is stored, or a later one that is not smaller, or the
// wanted state. It also returns a channel that is closed when this changes.
func (c *ownSeat) has(n *content) (<-chan struct{}, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved, c.stored == c.wanted || c.stored != nil && c.stored.Count >= n.Count
}
