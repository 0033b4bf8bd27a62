package presence

import (
	"context"
	"time"
)

// behindFor is how long an event waits at most for the webhook that its channel is occupied. The table may be
// unavailable.
const behindFor = 2 * time.Second

// Behind calls tell after the webhook that the channel is occupied was told, by whichever gateway did that,
// or when ctx has ended or the table takes too long. The subscription or the member that causes what tell
// reports must have begun here, or be expected. tell must not wait, and must not call the room.
func (m *Room) Behind(ctx context.Context, tell func()) {
	ctx, cancel := context.WithTimeout(ctx, behindFor)
	defer cancel()
	for {
		moved, opens := m.opens()
		if !opens {
			break
		}
		select {
		case <-moved:
			continue
		case <-ctx.Done():
		}
		break
	}
	// What the room has taken in before is told first, because of this lock.
	m.turn.Lock()
	defer m.turn.Unlock()
	for _, first := range m.others.before(Change{Kind: Counted}, m.roster.opt.Now()) {
		m.roster.opt.Tell(m.app, m.channel, first)
	}
	tell()
}

// opens reports whether the room does not know the channel as occupied although a subscription or member of
// this gateway is about to occupy it. moved is closed when that may have changed.
func (m *Room) opens() (moved <-chan struct{}, opens bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fold.occupied || m.closed || m.fold.byMembers {
		return m.moved, !m.fold.occupied && !m.closed && len(m.local) > 0
	}
	m.roster.ownMu.Lock()
	defer m.roster.ownMu.Unlock()
	return m.moved, m.roster.here(seat{m.app, m.channel, m.roster.opt.Node, ""}) > 0
}
