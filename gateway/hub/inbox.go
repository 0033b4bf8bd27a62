package hub

import (
	"container/list"
	"sync"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// smallMessage is the size in bytes up to which a message that has begun is not counted:
// so much belongs to any connection.
const smallMessage = 4 << 10

// inbox bounds what messages may take of which the beginning has come and the end has
// not: the library makes room for a frame as soon as its head says how long it is. What
// began first gives way, because who means it sends the rest at once.
type inbox struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	// begun has the guards that hold something, the oldest in front.
	begun list.List
}

// hold counts n bytes more of a message of a connection. The library rounds up to a power
// of two.
func (b *inbox) hold(g *guard, n uint64) {
	b.mu.Lock()
	if g.place == nil {
		g.place = b.begun.PushBack(g)
	}
	g.held += 2 * int64(n)
	b.bytes += 2 * int64(n)
	var gone []*guard
	for b.bytes > b.limit && b.begun.Front() != g.place {
		first := b.begun.Front().Value.(*guard)
		b.forget(first)
		gone = append(gone, first)
	}
	b.mu.Unlock()
	for _, old := range gone {
		old.client.tooSlow()
	}
}

// release takes back all that a connection holds. Idempotent.
func (b *inbox) release(g *guard) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(g)
}

func (b *inbox) forget(g *guard) {
	if g.place != nil {
		b.begun.Remove(g.place)
		b.bytes -= g.held
		g.place, g.held = nil, 0
	}
}

// size is what all hold, in bytes.
func (b *inbox) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

// tooSlow ends a connection whose message took too long, for the good of the others.
func (c *Client) tooSlow() {
	if c.refused == 0 {
		c.limited("message_bytes")
	}
	c.end(pusher.CloseOverCapacity)
	c.sock.Abort()
}
