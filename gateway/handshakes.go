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
	limit   int
	refused func()

	mu   sync.Mutex
	open map[netip.Addr]int
	of   map[net.Conn]netip.Addr
}

func newHandshakes(limit int, refused func()) *handshakes {
	return &handshakes{limit: limit, refused: refused, open: map[netip.Addr]int{}, of: map[net.Conn]netip.Addr{}}
}

// state follows a connection as the HTTP server sees it.
func (h *handshakes) state(c net.Conn, s http.ConnState) {
	if s != http.StateNew {
		h.done(c)
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

func (h *handshakes) done(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	addr, ok := h.of[c]
	if !ok {
		return
	}
	delete(h.of, c)
	if h.open[addr]--; h.open[addr] == 0 {
		delete(h.open, addr)
	}
}
