package post

import (
	"errors"
	"net/http"
	"os"
	"time"
)

// Turn is a place in a queue of connections.
type Turn interface {
	// Leave gives the place up.
	Leave() bool
}

// early is the space for bytes that a client sends while it waits, in addition to those that were read before.
const early = 256

// wait makes a connection wait for its turn before net/http gets it. Meanwhile it costs a sleeping goroutine and
// the bytes that were read. A client that disconnects gives up its turn.
func (c *conn) wait(first bool) {
	h := c.leave(first)
	// From here on, call or a shutdown sets the deadline.
	_ = c.tcp.SetReadDeadline(time.Time{})
	let := make(chan struct{})
	turn, mine := c.server.opt.Queue(c.tcp, func() {
		// In this order, because the deadline belongs to net/http once the connection is handed over.
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

// await waits for the turn of a connection. It reports false if the client has disconnected or the server stops.
// It notices a disconnect by reading; the bytes are kept in h.early.
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
