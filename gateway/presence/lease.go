package presence

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// A lease says that its gateway is alive, followed by the revision up to which the gateway has told all its
// changes, or that it has left.
const (
	alive = "alive"
	left  = "left"
)

// leaseFor is how long the record of a lease stays in the table, which only cleans up. A lease ends when it
// was not renewed for its lifetime (opt.Lease) by the clock of the observing gateway.
const leaseFor = 24 * time.Hour

// peer is another gateway in the register.
type peer struct {
	// seen is when it last renewed its lease, by this gateway's clock, and lease the revision of that
	// renewal.
	seen  time.Time
	lease uint64
	// owed is set from its burial until it was swept; buried is when this gateway heard of the burial.
	owed   bool
	buried time.Time
}

func leaseKey(node string) string { return "lease." + name.Key(node) }

func leaseValue(told uint64) []byte { return []byte(alive + " " + strconv.FormatUint(told, 10)) }

// toldBy returns the revision up to which the gateway of a lease has told its changes.
func toldBy(e kv.Entry) uint64 {
	text, _ := strings.CutPrefix(string(e.Value), alive+" ")
	told, _ := strconv.ParseUint(text, 10, 64)
	return told
}

// leases watches the leases of all gateways.
type leases struct{ r *Roster }

// Changed implements [kv.Watcher].
func (l leases) Changed(rec kv.Record) { l.r.heard(rec) }

// Lost implements [kv.Watcher]. Leases of other gateways are read before these are declared dead. What the
// table has of this gateway is checked at once.
func (l leases) Lost() { l.r.hurry() }

// hurry has the lease renewed now.
func (r *Roster) hurry() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// enter writes the lease, enters the register and reads the leases of the others.
func (r *Roster) enter(ctx context.Context) (err error) {
	var stops []func()
	r.unwatch = func() {
		for _, stop := range stops {
			stop()
		}
	}
	defer func() {
		if err != nil {
			r.unwatch()
		}
	}()
	// Changes cannot be judged before the register is known.
	if _, err := r.refresh(ctx); err != nil {
		return err
	}
	for pattern, w := range map[string]kv.Watcher{registerKey: registers{r}, "lease.*": leases{r}} {
		stop, err := r.opt.Table.Watch(pattern, w)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
	}
	if err := r.renew(ctx); err != nil {
		return err
	}
	records, err := r.opt.Table.List(ctx, "lease.*")
	for _, rec := range records {
		r.heard(rec)
	}
	return err
}

// heard applies a lease of another gateway.
func (r *Roster) heard(rec kv.Record) {
	node, err := name.Decode(strings.TrimPrefix(rec.Key, "lease."))
	if err != nil || node == r.opt.Node || !strings.HasPrefix(string(rec.Value), alive) {
		return
	}
	r.mu.Lock()
	p := r.peers[node]
	if p != nil && rec.Revision != p.lease {
		p.seen, p.lease = r.opt.Now(), rec.Revision
	}
	r.mu.Unlock()
	if p == nil && r.view.Load().unsure(node, rec.Revision) {
		r.hurry()
	}
}

// beat renews the lease regularly.
func (r *Roster) beat() {
	tick := time.NewTicker(r.opt.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
		ctx, cancel := context.WithTimeout(r.ctx, r.opt.Lease/3)
		err := r.renew(ctx)
		cancel()
		if err != nil && r.ctx.Err() == nil {
			r.mu.Lock()
			r.steady, r.shaken = r.opt.Now(), true
			r.mu.Unlock()
			r.warn("renewing the lease of this gateway failed; it is tried again", err)
		}
	}
}

// renew writes the lease and checks whether this gateway is still in the register. After trouble, it compares
// what the table has of this gateway with what it should have.
func (r *Roster) renew(ctx context.Context) error {
	settled := r.opt.Settled()
	r.mu.Lock()
	last, renewed, shaken, told := r.lease, r.renewed, r.shaken, r.told(settled)
	r.mu.Unlock()
	revision, err := r.opt.Table.Put(ctx, leaseKey(r.opt.Node), leaseValue(told), leaseFor)
	if err != nil {
		return err
	}
	known := r.view.Load()
	g, err := r.refresh(ctx)
	if err != nil {
		return err
	}
	first := renewed.IsZero()
	out := !g.alive(r.opt.Node) || g.Nodes[r.opt.Node].Floor > revision
	if out {
		if err := r.enroll(ctx, revision); err != nil {
			return err
		}
	}
	now := r.opt.Now()
	r.mu.Lock()
	r.lease, r.renewed, r.shaken = revision, now, false
	if revision < last {
		r.spoken, r.telling = nil, 0
	}
	if len(r.spoken) < maxSpoken {
		r.spoken = append(r.spoken, renewal{now, revision})
	}
	if first {
		r.steady, r.born = now, revision
	}
	r.mu.Unlock()
	switch {
	case out && !first:
		r.opt.Logger.Warn("this gateway was silent for so long that others took it for dead; it takes its seats again")
		r.metrics.revivals.Add(1)
		r.rewrite(func(seat, uint64) bool { return true })
	case first:
	case shaken, revision < last, g.Life != known.Life, now.Sub(renewed) > r.opt.Lease:
		// If the revision has fallen, the table was restored.
		if err := r.verify(ctx); err != nil {
			r.mu.Lock()
			r.shaken = true
			r.mu.Unlock()
			return err
		}
	}
	return nil
}

// enroll enters this gateway into the register. Everything that was written of it up to now is void.
func (r *Roster) enroll(ctx context.Context, lease uint64) error {
	return r.amend(ctx, func(g *register) *register {
		before := g.Nodes[r.opt.Node]
		s := standing{Floor: max(lease, g.revision), Owed: before.Owed, Buried: before.Buried}
		r.floor.Store(s.Floor)
		return g.with(r.opt.Node, &s)
	})
}

// maxSpoken bounds the renewals that are remembered while nothing can be stored.
const maxSpoken = 64

// renewal is a renewal of the lease.
type renewal struct {
	at       time.Time
	revision uint64
}

// owing is how much time may pass between a change of a gateway and its telling it.
const owing = 5 * time.Second

// told returns the revision up to which all changes were told and are stored. Everything that was told before
// settled is stored, so it is the revision of a renewal some time before that. The caller holds the lock.
func (r *Roster) told(settled time.Time) uint64 {
	for len(r.spoken) > 0 && settled.Sub(r.spoken[0].at) > owing {
		r.telling = r.spoken[0].revision
		r.spoken = r.spoken[1:]
	}
	return r.telling
}

// verify writes the seats again that the table has lost, and gives up those that it should not have.
func (r *Roster) verify(ctx context.Context) error {
	records, err := r.opt.Table.List(ctx, nodePattern(r.opt.Node))
	if err != nil {
		return err
	}
	have := map[seat]uint64{}
	for _, rec := range records {
		if s, n, ok := parse(rec.Key, rec.Value); ok && !n.Gone {
			have[s] = rec.Revision
			r.disown(s, latest{content: n, revision: rec.Revision})
		}
	}
	r.rewrite(func(s seat, revision uint64) bool { return have[s] < revision })
	return nil
}

// leave removes this gateway from the register, so that no other gateway looks for it. It does not if seats
// could not be given up or changes could not be told: other gateways then find out when the lease ends.
func (r *Roster) leave(ctx context.Context) {
	r.mu.Lock()
	stays := r.untold
	r.mu.Unlock()
	r.ownMu.Lock()
	stays = stays || len(r.own) > 0
	r.ownMu.Unlock()
	if stays {
		return
	}
	err := r.amend(ctx, func(g *register) *register {
		if s, in := g.Nodes[r.opt.Node]; !in || s.Owed {
			return nil
		}
		return g.with(r.opt.Node, nil)
	})
	if err == nil {
		_, err = r.opt.Table.Put(ctx, leaseKey(r.opt.Node), []byte(left), r.opt.Lease)
	}
	if err != nil {
		r.warn("giving up the lease of this gateway failed", err)
	}
}
