package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// ProxyProtocol says whether connections of a trusted proxy begin with a PROXY header. The zero value is
// [ProxyOptional].
type ProxyProtocol uint8

const (
	// ProxyOptional reads a PROXY header (v1 or v2) if there is one.
	ProxyOptional ProxyProtocol = iota
	// ProxyRequired refuses connections without a header.
	ProxyRequired
	// ProxyOff reads none; a header is then an invalid HTTP request.
	ProxyOff
)

// proxyListener reads PROXY headers of trusted peers. A header from another peer is an invalid HTTP request.
type proxyListener struct {
	net.Listener
	proxies  *proxies
	protocol ProxyProtocol
	timeout  time.Duration
	// known is called with the address of a connection once its header was read, before anything else is
	// read.
	known func(*proxied, netip.Addr)
}

func (l *proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	tcp, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		return conn, err
	}
	if peer, ok := peerOf(tcp.RemoteAddr().String()); !ok || !l.proxies.trusts(peer) {
		return conn, nil
	}
	policy := proxyproto.USE
	if l.protocol == ProxyRequired {
		policy = proxyproto.REQUIRE
	}
	return &proxied{
		TCPConn: tcp, known: l.known,
		in: proxyproto.NewConn(tcp, proxyproto.WithPolicy(policy), proxyproto.SetReadHeaderTimeout(l.timeout)),
	}, nil
}

// proxied is a connection of a trusted proxy. Its header is read by the first caller that needs the address
// or the content, not by the accepting goroutine. Writes go straight to the connection: nothing is written
// before the header was read.
type proxied struct {
	*net.TCPConn
	in    *proxyproto.Conn
	once  sync.Once
	known func(*proxied, netip.Addr)
}

func (c *proxied) Read(b []byte) (int, error)         { return c.in.Read(b) }
func (c *proxied) WriteTo(w io.Writer) (int64, error) { return c.in.WriteTo(w) }
func (c *proxied) SetDeadline(t time.Time) error      { return c.in.SetDeadline(t) }
func (c *proxied) SetReadDeadline(t time.Time) error  { return c.in.SetReadDeadline(t) }
func (c *proxied) LocalAddr() net.Addr                { return c.TCPConn.LocalAddr() }

// RemoteAddr returns the address of the client, if the proxy names it, and otherwise that of the proxy.
func (c *proxied) RemoteAddr() net.Addr {
	addr := c.in.RemoteAddr()
	if _, ok := peerOf(addr.String()); !ok {
		addr = c.TCPConn.RemoteAddr() // the header names a socket of another kind
	}
	c.once.Do(func() {
		if client, ok := peerOf(addr.String()); ok {
			c.known(c, client)
		}
	})
	return addr
}

// named reports whether the proxy has sent a header.
func (c *proxied) named() bool { return c.in.ProxyHeader() != nil }

type connKey struct{}

// noteProxied stores the connection in the context of its requests.
func noteProxied(ctx context.Context, c net.Conn) context.Context {
	if p, ok := socket.Below(c).(*proxied); ok {
		return context.WithValue(ctx, connKey{}, p)
	}
	return ctx
}

// forwarded reports whether a proxy has passed on a request. Such a request does not count as one of this
// machine, even if its address does.
func forwarded(r *http.Request) bool {
	if p, ok := r.Context().Value(connKey{}).(*proxied); ok && p.named() {
		return true
	}
	for _, name := range []string{
		"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip",
	} {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	return false
}

// behindProxies makes a listener take PROXY headers, if there are proxies to trust. shakes, which may be nil, counts
// the connections of the listener by the addresses that the headers name.
func (n *Node) behindProxies(l net.Listener, shakes *handshakes) net.Listener {
	if len(n.opt.TrustedProxies) == 0 || n.opt.ProxyProtocol == ProxyOff {
		return l
	}
	known := func(c *proxied, client netip.Addr) {
		if n.opt.ProxyProtocol == ProxyRequired && !c.named() {
			n.opt.Hub.Metrics.Limited("", "proxy_protocol")
			_ = c.Close()
			return
		}
		if shakes != nil {
			shakes.known(c, client)
		}
	}
	return &proxyListener{Listener: l, proxies: &n.proxies, protocol: n.opt.ProxyProtocol, timeout: n.opt.HeaderTimeout, known: known}
}

// arrive replaces the address of a request with that of its client, which limits and logs then use. shake
// counts the WebSocket handshake for that address until end is called; ok is false if there are too many. It
// is called after the wait at the door, so waiting requests are not counted.
func (n *Node) arrive(r *http.Request) (_ *http.Request, shake func() (end func(), ok bool)) {
	free := func() (func(), bool) { return func() {}, true }
	peer, known := peerOf(r.RemoteAddr)
	if !known || !n.proxies.trusts(peer) {
		return r, free
	}
	client, single := n.proxies.client(peer, r.Header)
	if client != peer {
		out := *r
		out.RemoteAddr = netip.AddrPortFrom(client, 0).String()
		r = &out
	}
	if n.shakes == nil || !single || !websocket.Asked(r.Header) {
		return r, free
	}
	return r, func() (func(), bool) { return n.shakes.begin(client) }
}
