package post

import (
	"io"
	"net"
	"net/http"
)

// handed is a connection that begins with bytes that were already read.
type handed struct {
	*net.TCPConn
	early []byte
	// counted is set while the connection counts as one that has sent no request yet.
	counted bool
	// turn is set if its first request has waited for its turn.
	turn bool
}

// TakeTurn reports, on the first call, whether the connection has already waited for its turn.
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

// WriteTo implements [io.WriterTo]. The bytes that were already read come first.
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

// State is the ConnState hook for the server that serves handed connections. It reports the accepted connection,
// and reports it as new only once.
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
