package presence

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/kv"
)

const (
	// clearPace is how many seats are written again at a time to raise the floor.
	clearPace = 256
	// gatherEvery is the time between two searches of all seats for strays.
	gatherEvery = time.Hour
	// maxStrays bounds the gateways whose strays are remembered.
	maxStrays = 1024
)

// clearing raises the floor of this gateway: first the seats that it holds are written again above the goal.
// Then everything up to the goal is void, even if a store that recovers brings it back, and is removed.
type clearing struct {
	goal  uint64
	since time.Time
	tombs int
}

// stray is the revision up to which a gateway has void records.
type stray struct {
	since    time.Time
	revision uint64
}

// tend looks after dead gateways, clears and dismisses, until the roster is closed.
func (r *Roster) tend() {
	look := time.NewTicker(r.opt.Lease / 10)
	defer look.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-look.C:
		}
		r.check()
		ctx, cancel := context.WithTimeout(r.ctx, writeTimeout)
		for _, do := range []func(context.Context) error{r.clear, r.dismiss} {
			if err := do(ctx); err != nil && r.ctx.Err() == nil {
				r.warn("clearing away records of seats failed; it is tried again", err)
			}
		}
		cancel()
		r.mu.Lock()
		r.looked = r.opt.Now()
		r.mu.Unlock()
	}
}

// clear begins clearing if too many seats were given up, or continues it.
func (r *Roster) clear(ctx context.Context) error {
	r.mu.Lock()
	lease, now := r.lease, r.opt.Now()
	r.mu.Unlock()
	r.ownMu.Lock()
	c := r.clearing
	switch {
	case c == nil && r.tombs >= r.opt.Tombstones+len(r.own)/2:
		r.clearing = &clearing{goal: lease, since: now, tombs: r.tombs}
	case c != nil && c.goal > lease:
		r.clearing = nil // the table was restored
	case c != nil && now.Sub(c.since) > r.opt.Linger && r.renewBelow(c.goal):
		r.ownMu.Unlock()
		return r.raise(ctx, c)
	}
	r.ownMu.Unlock()
	return nil
}

// renewBelow has seats up to a revision written again, and reports whether there are none. The caller holds
// the lock of the own seats.
func (r *Roster) renewBelow(goal uint64) bool {
	n := 0
	for _, c := range r.own {
		c.mu.Lock()
		if c.wanted != nil && c.stored != nil && c.revision <= goal {
			n++
			c.again = true
			r.enqueue(c)
		}
		c.mu.Unlock()
		if n == clearPace {
			break
		}
	}
	return n == 0
}

// raise raises the floor to the goal and removes everything up to it.
func (r *Roster) raise(ctx context.Context, c *clearing) error {
	err := r.amend(ctx, func(g *register) *register {
		s := g.Nodes[r.opt.Node]
		if !g.alive(r.opt.Node) || s.Floor >= c.goal {
			return nil
		}
		s.Floor = c.goal
		r.floor.Store(c.goal)
		return g.with(r.opt.Node, &s)
	})
	if err != nil {
		return err
	}
	if err := r.opt.Table.Purge(ctx, nodePattern(r.opt.Node), c.goal); err != nil {
		return err
	}
	r.ownMu.Lock()
	defer r.ownMu.Unlock()
	r.metrics.cleared.Add(1)
	r.tombs -= c.tombs
	r.clearing = nil
	return nil
}

// judge makes sure that it is known whether the gateways of records count. It remembers strays, which are
// void records that no sweep may remove: of gateways that have left, those that a recovering store brought
// back, and those that were written while their gateway was swept.
func (r *Roster) judge(ctx context.Context, records []kv.Record) error {
	view, fresh := r.view.Load(), false
	for _, rec := range records {
		node, ok := nodeOf(rec.Key)
		if !ok || view.counts(node, rec.Revision) {
			continue
		}
		if !fresh && view.unsure(node, rec.Revision) {
			var err error
			if view, err = r.refresh(ctx); err != nil {
				return err
			}
			fresh = true
		}
		// A sweep of a dead gateway may have listed its records before this one was written.
		if !view.counts(node, rec.Revision) {
			r.notice(node, rec.Revision)
		}
	}
	return nil
}

func (r *Roster) notice(node string, revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, known := r.strays[node]
	switch {
	case known && revision > seen.revision && r.opt.Now().Sub(seen.since) <= r.opt.Linger/2:
		seen.revision = revision
		r.strays[node] = seen
	case !known && len(r.strays) < maxStrays:
		r.strays[node] = stray{r.opt.Now(), revision}
	}
}

// dismiss removes strays. They stay for a while before that, so that a gateway that begins to follow sees who
// has just left.
func (r *Roster) dismiss(ctx context.Context) error {
	now, view := r.opt.Now(), r.view.Load()
	r.mu.Lock()
	var nodes []string
	for node, s := range r.strays {
		if now.Sub(s.since) > r.opt.Linger {
			nodes = append(nodes, node)
		}
	}
	r.mu.Unlock()
	for _, node := range nodes {
		if view.Nodes[node].Owed {
			continue // they may be needed to tell the owed changes
		}
		r.mu.Lock()
		through := r.strays[node].revision
		r.mu.Unlock()
		if view.alive(node) {
			through = min(through, view.Nodes[node].Floor)
		}
		if err := r.opt.Table.Purge(ctx, nodePattern(node), through); err != nil {
			return err
		}
		r.mu.Lock()
		delete(r.strays, node)
		r.mu.Unlock()
	}
	return nil
}

// gather checks all seats, after the start and once an hour. The first of the living gateways does it for
// all.
func (r *Roster) gather() {
	next := time.NewTimer(2 * r.opt.Lease)
	defer next.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-next.C:
			next.Reset(gatherEvery)
		}
		if r.view.Load().first() != r.opt.Node {
			continue
		}
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		var failed error
		err := r.opt.Table.Walk(ctx, "seat.>", func(piece []kv.Record) { failed = errors.Join(failed, r.judge(ctx, piece)) })
		cancel()
		err = errors.Join(err, failed)
		if err != nil && r.ctx.Err() == nil {
			r.warn("looking all seats through failed", err)
			next.Reset(2 * r.opt.Lease)
		}
	}
}
