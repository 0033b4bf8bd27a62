package presence

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// registerKey is where the gateways that count are written. The record is replaced and
// never removed, by age or otherwise: whatever else a store brings back when it recovers,
// this one is the newest that there was, and a seat of a gateway that is not in it is void.
const registerKey = "gateways"

// standing is what the register says of a gateway.
type standing struct {
	// Floor is the revision up to which its seats are void: it has written all that
	// hold anew since then.
	Floor uint64 `json:"f,omitempty"`
	// Dead gateways have no seats at all. Owed is set from a burial until somebody
	// has told what the dead one owed and has removed its seats.
	Dead bool `json:"d,omitempty"`
	Owed bool `json:"o,omitempty"`
	// Buried orders burials: of two that are owed, who has the higher one died later.
	Buried uint64 `json:"b,omitempty"`
}

// register is the gateways that count, as of a revision. It is never changed once made.
type register struct {
	// Life names the record from its making; another one is made when the table was
	// found to have lost it or to be older than what is known.
	Life  string              `json:"l"`
	Nodes map[string]standing `json:"n"`

	revision uint64
}

func newRegister() *register { return &register{Life: rand.Text(), Nodes: map[string]standing{}} }

// readRegister reads a record; false if it is not a register.
func readRegister(e kv.Entry) (*register, bool) {
	g := &register{}
	if json.Unmarshal(e.Value, g) != nil || g.Nodes == nil || g.Life == "" {
		return nil, false
	}
	g.revision = e.Revision
	return g, true
}

// alive says whether a gateway counts. Without a register all do.
func (g *register) alive(node string) bool {
	if g == nil {
		return true
	}
	s, in := g.Nodes[node]
	return in && !s.Dead
}

// first is the name that comes first among the living.
func (g *register) first() (node string) {
	for name := range g.Nodes {
		if g.alive(name) && (node == "" || name < node) {
			node = name
		}
	}
	return node
}

// counts says whether a seat that was written at a revision does. Without a register all do.
func (g *register) counts(node string, revision uint64) bool {
	return g == nil || g.alive(node) && revision > g.Nodes[node].Floor
}

// unsure says whether a seat may be of a gateway that entered after this register was read.
func (g *register) unsure(node string, revision uint64) bool {
	return !g.alive(node) && revision > g.revision
}

// moved are the gateways that have come, gone, or come back between two registers.
func (g *register) moved(to *register) map[string]bool {
	out := map[string]bool{}
	for node := range g.Nodes {
		// Who came back has raised its floor.
		out[node] = g.alive(node) != to.alive(node) || g.Nodes[node].Owed != to.Nodes[node].Owed
	}
	for node := range to.Nodes {
		out[node] = out[node] || !g.alive(node) && to.alive(node)
	}
	maps.DeleteFunc(out, func(_ string, moved bool) bool { return !moved })
	return out
}

// with is a copy in which a gateway stands otherwise, nil for not at all.
func (g *register) with(node string, s *standing) *register {
	out := &register{Life: g.Life, Nodes: maps.Clone(g.Nodes), revision: g.revision}
	if s == nil {
		delete(out.Nodes, node)
	} else {
		out.Nodes[node] = *s
	}
	return out
}

// registers watches the register.
type registers struct{ r *Roster }

// Changed implements [kv.Watcher].
func (w registers) Changed(rec kv.Record) {
	g, ok := readRegister(rec.Entry)
	if known := w.r.view.Load(); !ok || g.Life != known.Life {
		w.r.hurry() // the table was restored, or somebody else writes there
		return
	}
	w.r.adopt(g, nil)
}

// Lost implements [kv.Watcher].
func (w registers) Lost() { w.r.hurry() }

// adopt takes a register in if it is newer than what is known, or if instead, which it
// replaces whatever its revision, is what is known.
func (r *Roster) adopt(g, instead *register) {
	r.adopting.Lock()
	defer r.adopting.Unlock()
	known := r.view.Load()
	if known == nil {
		known = &register{}
	}
	if g.revision <= known.revision && (instead == nil || instead != known) {
		return
	}
	r.view.Store(g)
	now := r.opt.Now()
	r.mu.Lock()
	for node := range r.peers {
		if _, in := g.Nodes[node]; !in {
			delete(r.peers, node)
		}
	}
	for node, s := range g.Nodes {
		p := r.peers[node]
		switch {
		case node == r.opt.Node:
		case p == nil:
			r.peers[node] = &peer{seen: now, owed: s.Owed, buried: now}
		case s.Owed && !p.owed:
			p.owed, p.buried = true, now
		default:
			p.owed = s.Owed
		}
	}
	rooms := make([]*Room, 0, len(r.rooms))
	for _, m := range r.rooms {
		rooms = append(rooms, m)
	}
	r.mu.Unlock()
	moved := known.moved(g)
	for _, m := range rooms {
		m.know(g, moved)
	}
}

// refresh reads the register from the table and returns it. A table that has lost it, or
// has an older one than is known, gets what is known: who has ended since then stays away.
func (r *Roster) refresh(ctx context.Context) (*register, error) {
	for {
		known := r.view.Load()
		e, err := r.opt.Table.Read(ctx, registerKey)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return nil, err
		}
		g, found := readRegister(e)
		switch {
		case r.view.Load() != known:
			continue // what was read may be older than what was heard meanwhile
		case found && known != nil && g.revision == known.revision && g.Life == known.Life:
			return known, nil
		case found && (known == nil || g.revision > known.revision || g.Life != known.Life):
			// Somebody was faster if its life is another one.
		default:
			if g, err = r.restore(ctx, known, e.Revision); errors.Is(err, kv.ErrConflict) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		r.adopt(g, known)
		return r.view.Load(), nil
	}
}

// restore writes what is known into a table that has an older register or none.
func (r *Roster) restore(ctx context.Context, known *register, have uint64) (*register, error) {
	g := newRegister()
	if known != nil {
		maps.Copy(g.Nodes, known.Nodes)
	}
	for node, s := range g.Nodes {
		// Revisions may come again.
		s.Floor = min(s.Floor, have)
		g.Nodes[node] = s
	}
	if err := r.writeRegister(ctx, g, have); err != nil {
		return nil, err
	}
	return g, nil
}

func (r *Roster) writeRegister(ctx context.Context, g *register, have uint64) error {
	value, err := json.Marshal(g)
	if err != nil {
		return err
	}
	g.revision, err = r.opt.Table.Swap(ctx, registerKey, value, 0, have)
	return err
}

// amend changes the register. change is given what is in the table and returns what shall
// be, or nil for no change; it is called again if somebody else was faster.
func (r *Roster) amend(ctx context.Context, change func(*register) *register) error {
	for {
		g, err := r.refresh(ctx)
		if err != nil {
			return err
		}
		next := change(g)
		if next == nil {
			return nil
		}
		switch err = r.writeRegister(ctx, next, g.revision); {
		case err == nil:
			r.adopt(next, nil)
			return nil
		case !errors.Is(err, kv.ErrConflict):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(len(g.Nodes)) * time.Millisecond / 2):
		}
	}
}
