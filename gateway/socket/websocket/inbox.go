package websocket

import (
	"container/list"

	"github.com/sluicehq/sluice/broker/rank"
)

// smallMessage is the size in bytes up to which a message that has begun is not counted:
// so much belongs to any connection.
const smallMessage = 4 << 10

// Inbox bounds what messages may take of which the beginning has come and the end has
// not: the library makes room for a frame as soon as its head says how long it is. What
// began first gives way, because who means it sends the rest at once.
type Inbox struct {
	limit int64

	mu    rank.Mutex[rank.Inbox]
	bytes int64
	// begun has the guards that hold something, the oldest in front.
	begun list.List
}

// NewInbox has that limit in bytes.
func NewInbox(limit int64) *Inbox { return &Inbox{limit: limit} }

// hold counts n bytes more of a message of a connection. The library rounds up to a power
// of two.
func (b *Inbox) hold(g *Guard, n uint64) {
	b.mu.Lock()
	if g.place == nil {
		g.place = b.begun.PushBack(g)
	}
	g.held += 2 * int64(n)
	b.bytes += 2 * int64(n)
	var gone []*Guard
	for b.bytes > b.limit && b.begun.Front() != g.place {
		first := b.begun.Front().Value.(*Guard)
		b.forget(first)
		gone = append(gone, first)
	}
	b.mu.Unlock()
	for _, old := range gone {
		old.peer.TooSlow()
	}
}

// release takes back all that a connection holds. Idempotent.
func (b *Inbox) release(g *Guard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(g)
}

func (b *Inbox) forget(g *Guard) {
	if g.place != nil {
		b.begun.Remove(g.place)
		b.bytes -= g.held
		g.place, g.held = nil, 0
	}
}

// Size is what all hold, in bytes.
func (b *Inbox) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
