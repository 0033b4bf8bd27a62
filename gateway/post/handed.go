package post

import (
	"io"
	"net"
	"net/http"
)

// handed is a connection that begins with bytes that were read already.
type handed struct {
	*net.TCPConn
	early []byte
	// counted says that the connection is known as one that has sent no request yet.
	counted bool
	// turn says that its first request has had its turn.
	turn bool
}

// TakeTurn says whether the connection has waited for its turn before it came here, the first time that it
// is asked.
func (h *handed) TakeTurn() bool {
	had := h.turn
	h.turn = false
	return had
}

// Read implements [net.Conn].
func (h *handed) Read(p []byte) (int, error) {
	if len(h.early) == 0 {
		return h.TCPConn.Read(p)
	}
	n := copy(p, h.early)
	if h.early = h.early[n:]; len(h.early) == 0 {
		h.early = nil
	}
	return n, nil
}

// WriteTo implements [io.WriterTo], by which the bytes that were read must not be passed by.
func (h *handed) WriteTo(w io.Writer) (int64, error) {
	n := int64(0)
	if len(h.early) > 0 {
		k, err := w.Write(h.early)
		if h.early, n = nil, int64(k); err != nil {
			return n, err
		}
	}
	rest, err := h.TCPConn.WriteTo(w)
	return n + rest, err
}

// State is the ConnState of the server that has what is handed over: connections are known by
// what was accepted, and new only once.
func (s *Server) State(c net.Conn, state http.ConnState) {
	h, ok := c.(*handed)
	if !ok {
		s.opt.State(c, state)
		return
	}
	if state != http.StateNew && h.counted {
		h.counted = false
		s.opt.State(h.TCPConn, state)
	}
}
