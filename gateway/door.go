package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/post"
	"github.com/sluicehq/sluice/gateway/turns"
)

// doors limit how fast newcomers reach the hub, so that live events are not late. All are nil if newcomers
// are not limited.
type doors struct {
	// accept limits accepting connections, enter limits requests for the hub, and ask limits the requests of
	// admitted connections, because thousands of them may subscribe or resume at once.
	accept, enter, ask *turns.Door
	// gauge tells all doors how late the goroutines of this process wake up.
	gauge turns.Gauge
}

const (
	// acceptedFaster is how many times faster connections are accepted than admitted, and acceptedLeast is
	// the least number a second. What a connection requests is known only after it is accepted, and
	// publishers must not wait long behind a crowd.
	acceptedFaster, acceptedLeast = 8, 4000
	// askedFaster and askedLeast are the same for the requests of admitted connections, such as subscribing
	// and resuming.
	askedFaster, askedLeast = 4, 1000
)

// openDoors creates the doors and their metrics.
func (n *Node) openDoors(port string) {
	entering, asking := func() int64 { return 0 }, func() int64 { return 0 }
	if rate := n.opt.HandshakeRate; rate > 0 {
		d := &n.doors
		d.accept, d.enter, d.ask = turns.NewDoor(&d.gauge, max(acceptedFaster*rate, acceptedLeast)), turns.NewDoor(&d.gauge, rate), turns.NewDoor(&d.gauge, max(askedFaster*rate, askedLeast))
		entering, asking = n.doors.enter.Size, n.doors.ask.Size
		n.opt.Hub.Turn = n.doors.ask.Enter
	}
	for _, m := range []struct {
		name, help string
		size       func() int64
	}{
		{"handshakes_waiting", "WebSockets and event streams that wait to be let in, because more come than there is time for beside live events.", entering},
		{"requests_waiting", "Requests of connections, as to subscribe and to resume, that wait because more come than there is time for beside live events.", asking},
	} {
		n.opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: n.opt.MetricsPrefix + m.name, Help: m.help, ConstLabels: prometheus.Labels{"port": port},
		}, func() float64 { return float64(m.size()) }))
	}
}

// begin starts the measuring, which ends with open.
func (d *doors) begin() {
	if d.enter != nil {
		d.gauge.Begin()
	}
}

// open admits all that wait and all later ones.
func (d *doors) open() {
	for _, door := range []*turns.Door{d.accept, d.enter, d.ask} {
		if door != nil {
			door.Open()
		}
	}
	d.gauge.End()
}

// crowdedAt is how many may wait at the door before streams of HTTP/2 are refused. One HTTP/2 connection has
// hundreds of streams, so the bound on connections hardly limits them.
const crowdedAt = 10_000

// crowded reports whether a request is a stream of HTTP/2 for which no place is left at the door.
func (n *Node) crowded(r *http.Request) bool {
	return n.doors.enter != nil && r.ProtoMajor >= 2 && n.doors.enter.Size() >= crowdedAt
}

// turnKey is the context key of a connection that may have waited at the door already.
type turnKey struct{}

// turned is a connection that may have waited at the door already, see [post.Options].
type turned interface{ TakeTurn() bool }

// noteTurn stores the connection in the context of its requests.
func noteTurn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(turned); ok {
		return context.WithValue(ctx, turnKey{}, t)
	}
	return ctx
}

// admit waits until another connection may be accepted. Meanwhile the kernel keeps the others.
func (n *Node) admit() { _ = n.doors.accept.Enter(context.Background(), netip.Addr{}) }

// queue makes a connection that requests the hub wait at the door, before any other work is done for it. A
// connection of a trusted proxy does not wait here: its client is known only when the request was read.
func (n *Node) queue(c *net.TCPConn, call func()) (turn post.Turn, had bool) {
	peer, ok := peerOf(c.RemoteAddr().String())
	if !ok || n.proxies.trusts(peer) {
		return nil, false
	}
	if n.shakes != nil {
		n.shakes.done(c) // its request has arrived
	}
	if w := n.doors.enter.Queue(networkOf(peer), call); w != nil {
		return w, true
	}
	return nil, true
}

// letIn waits until a newcomer may enter. It reports false if the client has gone meanwhile.
func (n *Node) letIn(r *http.Request) bool {
	if n.doors.enter == nil {
		return true
	}
	if t, ok := r.Context().Value(turnKey{}).(turned); ok && t.TakeTurn() {
		return true
	}
	var client netip.Addr
	if addr, ok := peerOf(r.RemoteAddr); ok {
		client = networkOf(addr)
	}
	return n.doors.enter.Enter(r.Context(), client) == nil
}
