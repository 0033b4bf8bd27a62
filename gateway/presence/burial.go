package presence

import (
	"context"
	"errors"
	"math"

	"github.com/sluicehq/sluice/kv"
)

// check buries gateways whose lease has ended. It sweeps those that were buried more than two lease times ago
// and are not swept yet.
func (r *Roster) check() {
	now := r.opt.Now()
	view := r.view.Load()
	r.mu.Lock()
	silent := map[string]uint64{} // with the revision of the last known lease
	var unswept []string
	// After an outage, every gateway gets the time to renew. So it does after this gateway, or all of them,
	// were suspended.
	if !r.looked.IsZero() && now.Sub(r.looked) > r.opt.Lease/2 {
		r.steady = now
	}
	steady := now.Sub(r.steady) > r.opt.Lease
	for node, p := range r.peers {
		switch {
		case p.owed && now.Sub(p.buried) > 2*r.opt.Lease:
			unswept = append(unswept, node)
		case view.alive(node) && steady && now.Sub(p.seen) > r.opt.Lease:
			silent[node] = p.lease
		}
	}
	r.mu.Unlock()
	for node, lease := range silent {
		if err := r.pronounce(node, lease); err != nil && r.ctx.Err() == nil {
			r.warn("looking after a silent gateway failed; it is tried again", err)
		}
	}
	for _, node := range unswept {
		if err := r.sweep(node); err != nil && r.ctx.Err() == nil {
			r.warn("removing the seats of a dead gateway failed; it is tried again", err)
		}
	}
}

// pronounce buries a gateway if its lease has ended and no other gateway was faster. The lease has ended if
// it is still the one that was known a whole lease time ago by this gateway's clock, because the table
// expires records by the clocks of its servers.
func (r *Roster) pronounce(node string, lease uint64) error {
	ctx, cancel := context.WithTimeout(r.ctx, writeTimeout)
	defer cancel()
	key := leaseKey(node)
	rec, err := r.opt.Table.Read(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	// A renewal that was heard of meanwhile also shows that the gateway is alive: this gateway may be the one
	// that was suspended.
	if err == nil && (rec.Revision != lease || r.heardOf(node) != lease) {
		r.heard(kv.Record{Key: key, Entry: rec})
		return nil
	}
	buried := false
	err = r.amend(ctx, func(g *register) *register {
		if buried = g.alive(node); !buried {
			return nil
		}
		return g.with(node, &standing{Floor: g.Nodes[node].Floor, Dead: true, Owed: true, Buried: g.revision})
	})
	if err != nil || !buried {
		return err
	}
	r.opt.Logger.Warn("a gateway is dead; its members leave", "node", node)
	r.metrics.burials.Add(1)
	return r.sweep(node)
}

// heardOf returns the revision of the last known lease of a gateway.
func (r *Roster) heardOf(node string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.peers[node]; p != nil {
		return p.lease
	}
	return 0
}

// sweep removes the seats of a buried gateway, after telling the changes that it owed.
func (r *Roster) sweep(node string) error {
	ctx, cancel := context.WithTimeout(r.ctx, 6*writeTimeout)
	defer cancel()
	view, err := r.refresh(ctx)
	if err != nil {
		return err
	}
	s := view.Nodes[node]
	if !s.Owed {
		return nil
	}
	// A gateway that came back has its new seats above its floor.
	through := s.Floor
	if s.Dead {
		through = math.MaxUint64
	}
	told := uint64(math.MaxUint64)
	switch lease, err := r.opt.Table.Read(ctx, leaseKey(node)); {
	case err == nil:
		told = toldBy(lease)
	case !errors.Is(err, kv.ErrNotFound):
		return err
	}
	records, err := r.opt.Table.List(ctx, nodePattern(node))
	if err != nil {
		return err
	}
	channels, last := map[roomKey]bool{}, uint64(0)
	for _, rec := range records {
		if s, _, ok := parse(rec.Key, rec.Value); ok && rec.Revision <= through {
			channels[roomKey{s.app, s.channel}] = true
			last = max(last, rec.Revision)
		}
	}
	for key := range channels {
		all, err := r.opt.Table.List(ctx, channelPattern(key.app, key.channel))
		if err != nil {
			return err
		}
		for _, c := range owed(r.newFold(key.channel), all, view, node, through, told) {
			r.opt.Tell(key.app, key.channel, c)
		}
	}
	if last > 0 {
		if err := r.opt.Table.Purge(ctx, nodePattern(node), last); err != nil {
			return err
		}
	}
	return r.amend(ctx, func(g *register) *register {
		s, in := g.Nodes[node]
		switch {
		case !in || !s.Owed:
			return nil
		case s.Dead:
			return g.with(node, nil)
		}
		s.Owed = false
		return g.with(node, &s)
	})
}

// owed returns the changes that must be told for a dead gateway: those that its end causes, and those that it
// may have made after the revision up to which it had told. Receivers recognize a change that is told twice
// by its name. The fold must be that of an empty channel.
func owed(f *Fold, records []kv.Record, view *register, node string, through, told uint64) []Change {
	before := view.before(node, through)
	f.know(before, nil)
	var out []Change
	for _, s := range stepsOf(records, before) {
		own := s.seat.node == node
		if own && s.record > through {
			continue
		}
		for _, c := range f.take(holder{s.seat.node, s.seat.user}, s.latest) {
			if own && s.owes(c, f.byMembers, told) {
				out = append(out, c)
			}
		}
	}
	return append(out, f.know(view.with(node, nil), map[string]bool{node: true})...)
}

// before returns the register as it was when a gateway died whose seats up to a revision are swept. Gateways
// that died later, and whose changes are still owed, were alive then: if several gateways are buried at the
// same time by different ones, only the end of the last one empties a channel.
func (g *register) before(node string, through uint64) *register {
	died := g.Nodes[node]
	out := g.with(node, &standing{Floor: died.floorBefore(through)})
	for name, s := range g.Nodes {
		if name != node && s.Owed && s.Buried > died.Buried {
			out.Nodes[name] = standing{Floor: s.floorBefore(math.MaxUint64)}
		}
	}
	return out
}

// floorBefore returns the floor that a gateway had before it was buried, as far as that is known: a gateway
// that came back has raised it to what is swept.
func (s standing) floorBefore(through uint64) uint64 {
	if s.Dead && s.Floor < through {
		return s.Floor
	}
	return 0
}
