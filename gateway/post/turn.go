package post

import (
	"errors"
	"net/http"
	"os"
	"time"
)

// Turn is a place in a queue, of which somebody is called when it is his turn.
type Turn interface {
	// Leave gives it up.
	Leave() bool
}

// early is the room for what a client sends while it waits, beside what was read before.
const early = 256

// wait has a connection wait for its turn before the server of the library gets it. It costs a goroutine that
// sleeps and what was read, as long as it waits. Who goes meanwhile gives up his turn.
func (c *conn) wait(first bool) {
	h := c.leave(first)
	// The deadline is that of who calls, or of who shuts down.
	_ = c.tcp.SetReadDeadline(time.Time{})
	let := make(chan struct{})
	turn, mine := c.server.opt.Queue(c.tcp, func() {
		// In this order: once it is let in, its deadlines are somebody else's.
		_ = c.tcp.SetReadDeadline(time.Unix(1, 0))
		close(let)
	})
	h.turn = mine
	if turn != nil && (c.server.closing.Load() || !c.await(h, let)) {
		turn.Leave()
		c.server.forget(c)
		_ = c.tcp.Close()
		if first {
			c.server.opt.State(c.tcp, http.StateClosed)
		}
		return
	}
	c.pass(h)
}

// await waits until it is the turn of a connection, and is false for one whose client has gone. It reads, so
// that this is noticed; what it reads is kept.
func (c *conn) await(h *handed, let <-chan struct{}) bool {
	for n := len(h.early); n < cap(h.early); n = len(h.early) {
		k, err := c.wire.Read(h.early[n:cap(h.early)])
		if h.early = h.early[:n+k]; err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		break
	}
	select {
	case <-let:
		return true
	case <-c.server.over:
		return false
	}
}
