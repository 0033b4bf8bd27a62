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

// registerKey is the key of the register, the record of the gateways that count. It is replaced and never
// removed, not even by age: whatever else a recovering store brings back, this record is the newest that
// there was, and seats of gateways that are not in it are void.
const registerKey = "gateways"

// standing is what the register says of a gateway.
type standing struct {
	// Floor is the revision up to which its seats are void: it has written all seats that it holds again
	// since then.
	Floor uint64 `json:"f,omitempty"`
	// Dead gateways have no seats at all. Owed is set from a burial until a gateway has told what the dead
	// one owed and removed its seats.
	Dead bool `json:"d,omitempty"`
	Owed bool `json:"o,omitempty"`
	// Buried orders burials: of two gateways that are owed, the one with the higher value died later.
	Buried uint64 `json:"b,omitempty"`
}

// register is the set of gateways that count, as of a revision. It is immutable.
type register struct {
	// Life is a random name of the record. It changes when the table was found to have lost the record, or to
	// have an older one than is known.
	Life  string              `json:"l"`
	Nodes map[string]standing `json:"n"`

	revision uint64
}

func newRegister() *register { return &register{Life: rand.Text(), Nodes: map[string]standing{}} }

// readRegister parses a record. It reports false if the record is not a register.
func readRegister(e kv.Entry) (*register, bool) {
	g := &register{}
	if json.Unmarshal(e.Value, g) != nil || g.Nodes == nil || g.Life == "" {
		return nil, false
	}
	g.revision = e.Revision
	return g, true
}

// alive reports whether a gateway counts. Without a register, all do.
func (g *register) alive(node string) bool {
	if g == nil {
		return true
	}
	s, in := g.Nodes[node]
	return in && !s.Dead
}

// first returns the living gateway whose name is first in order.
func (g *register) first() (node string) {
	for name := range g.Nodes {
		if g.alive(name) && (node == "" || name < node) {
			node = name
		}
	}
	return node
}

// counts reports whether a seat that was written at a revision counts. Without a register, all do.
func (g *register) counts(node string, revision uint64) bool {
	return g == nil || g.alive(node) && revision > g.Nodes[node].Floor
}

// unsure reports whether a seat may be of a gateway that entered after this register was read.
func (g *register) unsure(node string, revision uint64) bool {
	return !g.alive(node) && revision > g.revision
}

// moved returns the gateways that have come, gone, or come back between two registers.
func (g *register) moved(to *register) map[string]bool {
	out := map[string]bool{}
	for node := range g.Nodes {
		// A gateway that came back has raised its floor.
		out[node] = g.alive(node) != to.alive(node) || g.Nodes[node].Owed != to.Nodes[node].Owed
	}
	for node := range to.Nodes {
		out[node] = out[node] || !g.alive(node) && to.alive(node)
	}
	maps.DeleteFunc(out, func(_ string, moved bool) bool { return !moved })
	return out
}

// with returns a copy with another standing of a gateway, nil to remove it.
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
		w.r.hurry() // the table was restored, or another cluster writes there
		return
	}
	w.r.adopt(g, nil)
}

// Lost implements [kv.Watcher].
func (w registers) Lost() { w.r.hurry() }

// adopt replaces the known register by g if g is newer. It does so whatever the revision of g if instead is
// the known register.
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

// refresh reads the register from the table and returns it. If the table has lost it, or has an older one
// than is known, it writes the known one, so that gateways that have ended since then stay ended.
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
			continue // a newer one may have been heard of during the reading
		case found && known != nil && g.revision == known.revision && g.Life == known.Life:
			return known, nil
		case found && (known == nil || g.revision > known.revision || g.Life != known.Life):
			// If the life differs, another gateway has restored it first.
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

// restore writes the known register into a table that has an older one or none.
func (r *Roster) restore(ctx context.Context, known *register, have uint64) (*register, error) {
	g := newRegister()
	if known != nil {
		maps.Copy(g.Nodes, known.Nodes)
	}
	for node, s := range g.Nodes {
		// Revisions up to the old floor may be assigned again.
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

// amend changes the register. change is given the register in the table and returns the new one, or nil for
// no change. It is called again if another gateway was faster.
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
