package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// handshakes bounds the connections of one address that have not sent a request yet, so
// that nobody can take all of them by saying nothing.
type handshakes struct {
	limit int
	// refused is called for one too many, unfinished for one that ended before it
	// had sent a request, as after the time for that.
	refused, unfinished func()

	mu   sync.Mutex
	open map[netip.Addr]int
	of   map[net.Conn]netip.Addr
}

func newHandshakes(limit int, refused, unfinished func()) *handshakes {
	return &handshakes{limit: limit, refused: refused, unfinished: unfinished, open: map[netip.Addr]int{}, of: map[net.Conn]netip.Addr{}}
}

// state follows a connection as the HTTP server sees it.
func (h *handshakes) state(c net.Conn, s http.ConnState) {
	if s != http.StateNew {
		if h.done(c) && s == http.StateClosed {
			h.unfinished()
		}
		return
	}
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return
	}
	// Of IPv6 a customer has a whole network.
	addr := at.Addr().Unmap()
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			addr = network.Addr()
		}
	}
	h.mu.Lock()
	full := h.open[addr] >= h.limit
	if !full {
		h.open[addr]++
		h.of[c] = addr
	}
	h.mu.Unlock()
	if full {
		h.refused()
		_ = c.Close()
	}
}

// done forgets a connection, and reports whether it had sent no request so far.
func (h *handshakes) done(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	addr, ok := h.of[c]
	if !ok {
		return false
	}
	delete(h.of, c)
	if h.open[addr]--; h.open[addr] == 0 {
		delete(h.open, addr)
	}
	return true
}
