package presence

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// What a lease says.
const (
	alive = "alive"
	dead  = "dead"
	left  = "left"
)

// graveFor is how long it is remembered that a gateway was buried, so that one that
// comes up meanwhile does not take its seats for real.
const graveFor = 10 * time.Minute

// peer is another gateway.
type peer struct {
	// seen is when it last said something, by our clock, and lease the revision of
	// the renewal that was heard of then.
	seen  time.Time
	lease uint64
	// grave is the revision at which it was buried last, 0 if it never was; its
	// seats up to there are void. dead is set from then until it says something
	// again, swept when the seats are known to be gone.
	grave       uint64
	buried      time.Time
	dead, swept bool
}

func leaseKey(node string) string { return "lease." + name.Key(node) }

// leases watches those of all gateways.
type leases struct{ r *Roster }

// Changed implements [kv.Watcher].
func (l leases) Changed(rec kv.Record) { l.r.heard(rec) }

// Lost implements [kv.Watcher]. What was missed of others is asked for before they are
// taken for dead; what was missed of us matters at once.
func (l leases) Lost() { l.r.hurry() }

// hurry has the lease renewed now.
func (r *Roster) hurry() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// enter takes the lease and learns of the others.
func (r *Roster) enter(ctx context.Context) error {
	stop, err := r.opt.Table.Watch("lease.*", leases{r})
	if err != nil {
		return err
	}
	r.unwatch = stop
	if err := r.renew(ctx); err != nil {
		stop()
		return err
	}
	if err := r.learn(ctx); err != nil {
		stop()
		return err
	}
	return nil
}

func (r *Roster) learn(ctx context.Context) error {
	records, err := r.opt.Table.List(ctx, "lease.*")
	for _, rec := range records {
		r.heard(rec)
	}
	return err
}

// meet notes a gateway of which a seat was seen at a revision.
func (r *Roster) meet(node string, revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[node]
	switch {
	case node == r.opt.Node:
	case p == nil:
		r.peers[node] = &peer{seen: r.opt.Now()}
	case p.dead && revision > p.grave:
		p.dead, p.seen = false, r.opt.Now()
	}
}

// heard takes in what a lease says.
func (r *Roster) heard(rec kv.Record) {
	node, err := name.Decode(rec.Key[len("lease."):])
	if err != nil {
		return
	}
	what := string(rec.Value)
	r.mu.Lock()
	now := r.opt.Now()
	if node == r.opt.Node {
		r.mu.Unlock()
		if what == dead {
			r.hurry()
		}
		return
	}
	p := r.peers[node]
	if p == nil {
		p = &peer{}
		r.peers[node] = p
	}
	grave := false
	switch what {
	case left:
		delete(r.peers, node)
	case alive:
		if rec.Revision != p.lease {
			p.seen, p.lease = now, rec.Revision
		}
		p.dead = p.dead && rec.Revision < p.grave
	case dead:
		if grave = rec.Revision > p.grave; grave {
			p.grave, p.buried, p.dead, p.swept = rec.Revision, now, true, false
		}
	}
	r.mu.Unlock()
	if grave {
		r.bury(node, rec.Revision)
	}
}

func (r *Roster) bury(node string, revision uint64) {
	r.mu.Lock()
	rooms := make([]*Room, 0, len(r.rooms))
	for m := range maps.Values(r.rooms) {
		rooms = append(rooms, m)
	}
	r.mu.Unlock()
	for _, m := range rooms {
		m.bury(node, revision)
	}
}

// graves are the revisions up to which the seats of gateways are void.
func (r *Roster) graves() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]uint64{}
	for node, p := range r.peers {
		if p.grave > 0 {
			out[node] = p.grave
		}
	}
	return out
}

// beat renews the lease and looks for gateways that do not.
func (r *Roster) beat() {
	tick := time.NewTicker(r.opt.Lease / 3)
	look := time.NewTicker(r.opt.Lease / 10)
	defer tick.Stop()
	defer look.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-look.C:
			r.check()
			continue
		case <-tick.C:
		case <-r.wake:
		}
		ctx, cancel := context.WithTimeout(r.ctx, r.opt.Lease/3)
		err := r.renew(ctx)
		cancel()
		if err != nil && r.ctx.Err() == nil {
			r.mu.Lock()
			r.steady = r.opt.Now()
			r.mu.Unlock()
			r.warn("renewing the lease of this gateway failed; it is tried again", err)
		}
	}
}

// renew writes our lease. If it had ended others may have buried us, and what the
// table has of us is compared with what it should have.
func (r *Roster) renew(ctx context.Context) error {
	r.mu.Lock()
	last, renewed := r.lease, r.renewed
	r.mu.Unlock()
	key := leaseKey(r.opt.Node)
	revision, err := r.opt.Table.Swap(ctx, key, []byte(alive), r.opt.Lease, last)
	wasBuried := false
	for errors.Is(err, kv.ErrConflict) {
		var e kv.Entry
		e, err = r.opt.Table.Read(ctx, key)
		switch {
		case errors.Is(err, kv.ErrNotFound):
			revision, err = r.opt.Table.Swap(ctx, key, []byte(alive), r.opt.Lease, 0)
		case err == nil:
			wasBuried = wasBuried || string(e.Value) == dead
			revision, err = r.opt.Table.Swap(ctx, key, []byte(alive), r.opt.Lease, e.Revision)
		}
	}
	if err != nil {
		return err
	}
	now := r.opt.Now()
	r.mu.Lock()
	r.lease, r.renewed = revision, now
	if renewed.IsZero() {
		r.steady = now
	}
	r.mu.Unlock()
	switch {
	case wasBuried:
		r.opt.Logger.Warn("this gateway was silent for so long that others took it for dead; it takes its seats again")
		r.metrics.revivals.Add(1)
		r.rewrite(func(seat, uint64) bool { return true })
	case revision < last, !renewed.IsZero() && now.Sub(renewed) > r.opt.Lease:
		// Revisions that come again are those of a table that was restored.
		return r.verify(ctx)
	}
	return nil
}

// verify writes again what the table does not have of us, and gives up what it should not
// have.
func (r *Roster) verify(ctx context.Context) error {
	records, err := r.opt.Table.List(ctx, nodePattern(r.opt.Node))
	if err != nil {
		return err
	}
	have := map[seat]uint64{}
	for _, rec := range records {
		if s, n, ok := parse(rec.Key, rec.Value); ok && !n.Gone {
			have[s] = rec.Revision
			r.disown(s, held{n, rec.Revision})
		}
	}
	r.rewrite(func(s seat, revision uint64) bool { return have[s] < revision })
	return nil
}

// leave says that we went on purpose, so that nobody looks for us.
func (r *Roster) leave(ctx context.Context) {
	r.mu.Lock()
	last := r.lease
	r.mu.Unlock()
	if _, err := r.opt.Table.Swap(ctx, leaseKey(r.opt.Node), []byte(left), r.opt.Lease, last); err != nil {
		r.warn("giving up the lease of this gateway failed", err)
	}
}
