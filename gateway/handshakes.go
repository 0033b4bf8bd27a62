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

// handshakes bounds the connections of one address that have not sent a request yet, so
// that nobody can take all of them by saying nothing. Of a connection through a proxy the
// address is known later: with its PROXY header, or with its request, when the handshake
// of a WebSocket that it asks for counts.
type handshakes struct {
	limit   int
	proxies *proxies
	// refused is called for one too many, unfinished for one that ended before it
	// had sent a request, as after the time for that.
	refused    func(netip.Addr)
	unfinished func()
	// answer is what is told to one too many.
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

// state follows a connection as the HTTP server sees it.
func (h *handshakes) state(c net.Conn, s http.ConnState) {
	c = socket.Below(c)
	if s != http.StateNew {
		if h.done(c) && s == http.StateClosed {
			h.unfinished()
		}
		return
	}
	if _, waits := c.(*proxied); waits {
		return // for its header, and then it is known
	}
	if addr, ok := peerOf(c.RemoteAddr().String()); ok {
		h.known(c, addr)
	}
}

// known counts a connection for its address, or closes it. A proxy that does not say for
// whom a connection is stands for many.
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

// sendAway answers a connection before it has asked for anything, and closes it. The
// answer fits into what the kernel buffers of a connection that is new, so nobody waits. The
// deadline is for a kernel that is different, and far away because a write that begins after it
// fails without being tried.
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

// begin counts a handshake whose request has told its address. end must be called.
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

// done forgets a connection, and reports whether it had sent no request so far.
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

// networkOf is what counts as one address: of IPv6 a customer has a whole network.
func networkOf(addr netip.Addr) netip.Addr {
	addr = plain(addr)
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}

// crowd says that an address has too many silent connections, once in a while.
type crowd struct {
	logger *slog.Logger
	limit  int
	said   seldom.Lines
}

func (c *crowd) note(addr netip.Addr) {
	c.said.Warn(c.logger, "", "connections are refused because too many of their address have not sent a request yet; if it is a proxy, list it in trusted_proxies",
		"address", addr.String(), "limit", c.limit, "key", "http.max_handshakes_per_address")
}

// openHandshakes bounds connections that say nothing.
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
