package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ErrFull means that a channel has as many members as it may have.
var ErrFull = errors.New("the channel has reached its limit of members")

// Join adds a connection of a user. It returns when this gateway has seen the user as a member in the table,
// so that [Room.Members] has it. limit bounds the distinct users; members that join on other gateways at the
// same moment may exceed it. Errors: [ErrFull], those of the table, or of ctx.
func (m *Room) Join(ctx context.Context, user string, info json.RawMessage, limit int) error {
	at := holder{m.roster.opt.Node, user}
	look := time.NewTimer(resyncAfter)
	defer look.Stop()
	m.mu.Lock()
	for m.comesAnew(at, info) {
		moved := m.moved
		m.mu.Unlock()
		if err := m.await(ctx, look, nil, moved); err != nil {
			return err
		}
		m.mu.Lock()
	}
	inForce, in := m.fold.Has(user)
	if !in && m.local[user] == 0 {
		coming := 0
		for u := range m.local {
			if _, in := m.fold.Has(u); !in {
				coming++
			}
		}
		if m.fold.Users()+coming >= limit {
			m.mu.Unlock()
			return ErrFull
		}
	}
	if in {
		info = inForce
	}
	if m.local[user]++; m.local[user] == 1 {
		m.roster.metrics.member(m.app, 1)
	}
	c := m.roster.set(seat{m.app, m.channel, at.node, user}, m.local[user] == 1, &content{User: user, Info: info})
	m.mu.Unlock()
	err := m.arrives(ctx, look, c, at)
	if err != nil {
		m.Leave(user)
	}
	return err
}

// comesAnew reports whether a user whose last connection here has left comes back with another info before
// the room knows that it left. The user must leave first, otherwise the old info would stay in force. The
// caller holds the lock.
func (m *Room) comesAnew(at holder, info json.RawMessage) bool {
	u := m.fold.members[at.user]
	if u == nil || u.seats > 1 || !m.fold.seats[at].in || m.local[at.user] > 0 {
		return false
	}
	// The table's value was written by the same function.
	before, err := json.Marshal(u.Info)
	now, wrong := json.Marshal(info)
	return err == nil && wrong == nil && !bytes.Equal(before, now)
}

// arrives waits until the fold has the stored state of a seat.
func (m *Room) arrives(ctx context.Context, look *time.Timer, c *ownSeat, at holder) error {
	for {
		stored, revision := c.state()
		m.mu.Lock()
		arrived := revision > 0 && m.fold.revision(at) >= revision
		moved := m.moved
		m.mu.Unlock()
		if arrived {
			return nil
		}
		if err := m.await(ctx, look, stored, moved); err != nil {
			return err
		}
	}
}

// resyncAfter is how long a join waits for its own write to arrive before the room is compared with the
// table.
const resyncAfter = time.Second

// await waits until one of the channels is closed. When look fires, it has the room compared with the table.
func (m *Room) await(ctx context.Context, look *time.Timer, stored, moved <-chan struct{}) error {
	select {
	case <-stored:
	case <-moved:
	case <-look.C:
		m.roster.resync(m)
		look.Reset(resyncAfter)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// conform writes the seat of a user on this gateway again if its info differs from the one in force, which
// happens if the user joined on two gateways at the same moment. So a reader of the table sees the right info
// even after the other seat was given up. The caller holds the lock.
func (m *Room) conform(user string) {
	u, at := m.fold.members[user], holder{m.roster.opt.Node, user}
	if h := m.fold.seats[at]; u != nil && m.local[user] > 0 && h.in && !bytes.Equal(h.Info, u.Info) {
		m.roster.set(seat{m.app, m.channel, at.node, user}, true, &content{User: user, Info: u.Info})
	}
}

// Leave removes a connection of a user.
func (m *Room) Leave(user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.local[user]--; m.local[user] > 0 {
		return
	}
	delete(m.local, user)
	m.leaving = true
	m.roster.metrics.member(m.app, -1)
	m.roster.set(seat{m.app, m.channel, m.roster.opt.Node, user}, true, nil)
}
