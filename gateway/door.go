package gateway

import (
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/turns"
)

// openDoor has those wait who come to the hub faster than there is time for beside live events.
func (n *Node) openDoor(port string) {
	size := func() int64 { return 0 }
	if n.opt.HandshakeRate > 0 {
		n.door = turns.NewDoor(n.opt.HandshakeRate)
		size = n.door.Size
	}
	n.opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: n.opt.MetricsPrefix + "handshakes_waiting", Help: "WebSockets and event streams that wait to be let in, because more come than there is time for beside live events.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() float64 { return float64(size()) }))
}

// crowdedAt is how many may wait at the door before streams of HTTP/2 are refused. Of these a
// connection has hundreds, so that the bound on connections says little of them.
const crowdedAt = 10_000

// crowded says whether a stream of HTTP/2 would be one too many at the door.
func (n *Node) crowded(r *http.Request) bool {
	return n.door != nil && r.ProtoMajor >= 2 && n.door.Size() >= crowdedAt
}

// letIn waits until a newcomer may come in. It is false if he has gone meanwhile.
func (n *Node) letIn(r *http.Request) bool {
	if n.door == nil {
		return true
	}
	var client netip.Addr
	if addr, ok := peerOf(r.RemoteAddr); ok {
		client = networkOf(addr)
	}
	return n.door.Enter(r.Context(), client) == nil
}
