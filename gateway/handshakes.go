package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/socket"
)

// handshakes bounds the connections of one address that have not sent a request yet, so that silent
// connections of one address cannot take all places. If a connection comes through a proxy, its address is
// known only later. With a PROXY header, it counts from that header on. Otherwise it counts during the
// WebSocket handshake that its request begins.
type handshakes struct {
	limit   int
	proxies *proxies
	// refused is called for a connection beyond the limit. unfinished is called for a connection that ended
	// without having sent a request, for instance after the timeout.
	refused    func(netip.Addr)
	unfinished func()
	// answer is what a refused connection is sent.
	answer string

	mu   sync.Mutex
	open map[netip.Addr]int
	of   map[net.Conn]netip.Addr
}

func newHandshakes(limit int, p *proxies, refused func(netip.Addr), unfinished func()) *handshakes {
	return &handshakes{
		answer: busy, limit: limit, proxies: p, refused: refused, unfinished: unfinished,
		open: map[netip.Addr]int{}, of: map[net.Conn]netip.Addr{},
	}
}

// state is the ConnState hook of the HTTP server.
func (h *handshakes) state(c net.Conn, s http.ConnState) {
	c = socket.Below(c)
	if s != http.StateNew {
		if h.done(c) && s == http.StateClosed {
			h.unfinished()
		}
		return
	}
	if _, waits := c.(*proxied); waits {
		return // Its header tells the address later.
	}
	if addr, ok := peerOf(c.RemoteAddr().String()); ok {
		h.known(c, addr)
	}
}

// known counts a connection for its address, or closes it if there are too many. A trusted proxy that does
// not name a client is not counted, because it stands for many.
func (h *handshakes) known(c net.Conn, addr netip.Addr) {
	if h.proxies.trusts(addr) {
		return
	}
	addr = networkOf(addr)
	h.mu.Lock()
	full := !h.enter(addr)
	if !full {
		h.of[c] = addr
	}
	h.mu.Unlock()
	if full {
		h.refused(addr)
		h.sendAway(c)
	}
}

// sendAway answers a connection that has not sent a request, and closes it. The answer fits into the kernel's
// buffer of a new connection, so the write does not wait. The deadline is a safeguard; it is a second away,
// because a write after its deadline fails without being tried.
func (h *handshakes) sendAway(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(sendAwayWait))
	_, _ = io.WriteString(c, h.answer)
	_ = c.Close()
}

const (
	sendAwayWait = time.Second
	busyText     = `{"error":"too many connections of this address have not sent a request yet (http.max_handshakes_per_address)",` +
		`"code":"service_unavailable","status":503}`
)

var busy = fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
	"Retry-After: 1\r\nConnection: close\r\n\r\n%s", len(busyText), busyText)

// begin counts a handshake whose address was known only from its request. The caller must call end if ok is
// true.
func (h *handshakes) begin(addr netip.Addr) (end func(), ok bool) {
	addr = networkOf(addr)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.enter(addr) {
		h.refused(addr)
		return nil, false
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.leave(addr)
	}, true
}

// done stops counting a connection, and reports whether it was counted, so had sent no request so far.
func (h *handshakes) done(c net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	addr, ok := h.of[c]
	if ok {
		delete(h.of, c)
		h.leave(addr)
	}
	return ok
}

func (h *handshakes) enter(addr netip.Addr) bool {
	if h.open[addr] >= h.limit {
		return false
	}
	h.open[addr]++
	return true
}

func (h *handshakes) leave(addr netip.Addr) {
	if h.open[addr]--; h.open[addr] == 0 {
		delete(h.open, addr)
	}
}

// networkOf returns what counts as one address: for IPv6 the /64 network, because one customer has all of it.
func networkOf(addr netip.Addr) netip.Addr {
	addr = plain(addr)
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}

// crowd logs that an address has too many silent connections. The line is rate-limited.
type crowd struct {
	logger *slog.Logger
	limit  int
	said   seldom.Lines
}

func (c *crowd) note(addr netip.Addr) {
	c.said.Warn(c.logger, "", "connections are refused because too many of their address have not sent a request yet; if it is a proxy, list it in trusted_proxies",
		"address", addr.String(), "limit", c.limit, "key", "http.max_handshakes_per_address")
}

// openHandshakes prepares the bound on silent connections.
func (n *Node) openHandshakes() {
	opt := &n.opt
	if opt.MaxHandshakes <= 0 {
		return
	}
	count := n.opt.Hub.Metrics.Limited
	crowd := &crowd{logger: opt.Logger, limit: opt.MaxHandshakes}
	n.shakes = newHandshakes(opt.MaxHandshakes, &n.proxies, func(addr netip.Addr) {
		count("", "handshakes")
		crowd.note(addr)
	}, func() { count("", "header_timeout") })
	if opt.TLS != nil {
		n.shakes.answer = sorryOfTLS
	}
}
