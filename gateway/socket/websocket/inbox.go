package websocket

import (
	"container/list"

	"github.com/sluicehq/sluice/broker/rank"
)

// smallMessage is the size in bytes up to which an incomplete message is not counted, because every
// connection may use that much.
const smallMessage = 4 << 10

// Inbox bounds the memory of messages that have arrived only in part: the library allocates a frame as soon
// as its header says how long it is. The message that began first is given up, because an honest client sends
// the rest at once. Safe for concurrent use.
type Inbox struct {
	limit int64

	mu    rank.Mutex[rank.Inbox]
	bytes int64
	// begun has the guards that hold something, the oldest in front.
	begun list.List
}

// NewInbox returns an inbox with a limit in bytes.
func NewInbox(limit int64) *Inbox { return &Inbox{limit: limit} }

// hold counts n more bytes of a message. They count twice, because the library rounds up to a power of two.
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

// release releases all that a connection holds. Idempotent.
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

// Size returns what all connections hold, in bytes.
func (b *Inbox) Size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
