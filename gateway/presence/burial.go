package presence

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// owing is how long before its last sign of life a gateway may have changed something
// without having told of it.
const owing = 30 * time.Second

// check looks for gateways whose lease has ended, and for seats of buried ones that
// whoever buried them did not come to remove.
func (r *Roster) check() {
	now := r.opt.Now()
	r.mu.Lock()
	var silent, unswept []string
	// After an outage everybody gets the time to renew.
	steady := now.Sub(r.steady) > r.opt.Lease
	for node, p := range r.peers {
		switch {
		case p.dead && p.swept && now.Sub(p.buried) > 2*graveFor:
			delete(r.peers, node)
		case p.grave > 0 && !p.swept && now.Sub(p.buried) > 2*r.opt.Lease:
			unswept = append(unswept, node)
		case !p.dead && steady && now.Sub(p.seen) > r.opt.Lease:
			silent = append(silent, node)
		}
	}
	r.mu.Unlock()
	for _, node := range silent {
		if err := r.pronounce(node); err != nil && r.ctx.Err() == nil {
			r.warn("looking after a silent gateway failed; it is tried again", err)
		}
	}
	for _, node := range unswept {
		if err := r.sweep(node); err != nil && r.ctx.Err() == nil {
			r.warn("removing the seats of a dead gateway failed; it is tried again", err)
		}
	}
}

// pronounce buries a gateway if its lease has ended and nobody was faster. A lease that
// is still the one that was heard of a whole life time ago has ended, too: the table goes
// by the clocks of its servers, which may keep it for an hour.
func (r *Roster) pronounce(node string) error {
	ctx, cancel := context.WithTimeout(r.ctx, writeTimeout)
	defer cancel()
	key := leaseKey(node)
	rec, err := r.opt.Table.Read(ctx, key)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	r.mu.Lock()
	p := r.peers[node]
	old := p != nil && rec.Revision == p.lease && string(rec.Value) == alive
	r.mu.Unlock()
	if err == nil && !old {
		r.heard(kv.Record{Key: key, Entry: rec})
		return nil
	}
	revision, err := r.opt.Table.Swap(ctx, key, []byte(dead), graveFor, rec.Revision)
	if errors.Is(err, kv.ErrConflict) {
		return nil // we will hear of it
	}
	if err != nil {
		return err
	}
	r.opt.Logger.Warn("a gateway is dead; its members leave", "node", node)
	r.metrics.burials.Add(1)
	r.heard(kv.Record{Key: key, Entry: kv.Entry{Value: []byte(dead), Revision: revision}})
	return r.sweep(node)
}

// sweep removes the seats of a buried gateway, after telling what it owed.
func (r *Roster) sweep(node string) error {
	r.mu.Lock()
	p := r.peers[node]
	grave := uint64(0)
	if p != nil {
		grave = p.grave
	}
	r.mu.Unlock()
	if grave == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, 6*writeTimeout)
	defer cancel()
	records, err := r.opt.Table.List(ctx, nodePattern(node))
	if err != nil {
		return err
	}
	channels := map[roomKey]bool{}
	for _, rec := range records {
		if s, _, ok := parse(rec.Key, rec.Value); ok && rec.Revision <= grave {
			channels[roomKey{s.app, s.channel}] = true
		}
	}
	for key := range channels {
		all, err := r.opt.Table.List(ctx, channelPattern(key.app, key.channel))
		if err != nil {
			return err
		}
		for _, c := range owed(all, node, grave) {
			r.opt.Tell(key.app, key.channel, c)
		}
	}
	if len(records) > 0 {
		if err := r.opt.Table.Purge(ctx, nodePattern(node), grave); err != nil {
			return err
		}
	}
	r.mu.Lock()
	if p := r.peers[node]; p != nil {
		p.swept = true
	}
	r.mu.Unlock()
	return nil
}

// owed is what must be told on behalf of a dead gateway: what its end changes, and
// what it may have changed just before without telling. Who hears of the same change
// twice knows it by its name.
func owed(records []kv.Record, node string, grave uint64) []Change {
	slices.SortFunc(records, func(a, b kv.Record) int { return cmp.Compare(a.Revision, b.Revision) })
	var newest time.Time
	for _, rec := range records {
		if rec.Revision <= grave && rec.Time.After(newest) {
			newest = rec.Time
		}
	}
	f := NewFold()
	var out []Change
	for _, rec := range records {
		s, n, ok := parse(rec.Key, rec.Value)
		if !ok {
			continue
		}
		at := place{s.node, s.user}
		if n.Gone && n.Since > 0 {
			// What was held in between is gone from the table, and was there.
			f.apply(at, n.Since, note{User: n.User, Info: n.Info, Count: 1})
		}
		for _, c := range f.apply(at, rec.Revision, n) {
			if s.node == node && rec.Revision <= grave && newest.Sub(rec.Time) < owing {
				out = append(out, c)
			}
		}
	}
	return append(out, f.Bury(node, grave)...)
}
