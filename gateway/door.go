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

// doors are where those wait who come to the hub faster than there is time for beside live events. All are
// nil if everybody is let in at once.
type doors struct {
	// accept is for connections that are not accepted yet, enter for those that have asked for the hub, and ask
	// for what they want there: newcomers ask when they please, so thousands of them may do so at once.
	accept, enter, ask *turns.Door
	// gauge says to all of them how late this process is.
	gauge turns.Gauge
}

const (
	// acceptedFaster is how much faster connections are accepted than they are let in, and acceptedLeast how many in a
	// second at least. What they ask for is known only then, and who publishes must not stand behind a crowd for long.
	acceptedFaster, acceptedLeast = 8, 4000
	// askedFaster and askedLeast are the same for requests: who was let in subscribes and resumes.
	askedFaster, askedLeast = 4, 1000
)

// openDoors makes them, with their metrics.
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

// begin measures from now on, until open is called.
func (d *doors) begin() {
	if d.enter != nil {
		d.gauge.Begin()
	}
}

// open lets everybody in, and who waits.
func (d *doors) open() {
	for _, door := range []*turns.Door{d.accept, d.enter, d.ask} {
		if door != nil {
			door.Open()
		}
	}
	d.gauge.End()
}

// crowdedAt is how many may wait at the door before streams of HTTP/2 are refused. Of these a
// connection has hundreds, so that the bound on connections says little of them.
const crowdedAt = 10_000

// crowded says whether a stream of HTTP/2 would be one too many at the door.
func (n *Node) crowded(r *http.Request) bool {
	return n.doors.enter != nil && r.ProtoMajor >= 2 && n.doors.enter.Size() >= crowdedAt
}

// turnKey is that of what knows, in the context of a request, whether its connection has waited at the door.
type turnKey struct{}

// turned is a connection that may have waited at the door, see [post.Options].
type turned interface{ TakeTurn() bool }

// noteTurn keeps the connection with the context of its requests.
func noteTurn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(turned); ok {
		return context.WithValue(ctx, turnKey{}, t)
	}
	return ctx
}

// admit waits until another connection may be accepted. The kernel keeps those that come meanwhile.
func (n *Node) admit() { _ = n.doors.accept.Enter(context.Background(), netip.Addr{}) }

// queue has a connection that asks for the hub wait at the door before anything else is done for it. That of a
// proxy stands for somebody whom its request names, and waits once that was read.
func (n *Node) queue(c *net.TCPConn, call func()) (turn post.Turn, had bool) {
	peer, ok := peerOf(c.RemoteAddr().String())
	if !ok || n.proxies.trusts(peer) {
		return nil, false
	}
	if n.shakes != nil {
		n.shakes.done(c) // its request is here
	}
	if w := n.doors.enter.Queue(networkOf(peer), call); w != nil {
		return w, true
	}
	return nil, true
}

// letIn waits until a newcomer may come in. It is false if he has gone meanwhile.
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
