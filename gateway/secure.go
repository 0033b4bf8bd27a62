package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/process"
	"github.com/sluicehq/sluice/gateway/rest"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/stream"
)

// Certificates are how a node proves to its clients who it is. All methods but Run may be called
// from any goroutine.
type Certificates interface {
	// Config is how the listener speaks TLS. It is asked for once; what it presents may
	// change behind it.
	Config() *tls.Config
	// Run keeps the certificates current until ctx is done. at is where the listener is.
	Run(ctx context.Context, at net.Addr)
	// Problems says what is wrong although clients are served.
	Problems() []string
	// Missing says why there is no certificate, empty if there is one.
	Missing() string
	// Expires is when the certificate that ends first ends, in Unix seconds, 0 if there is
	// none.
	Expires() float64
	// Challenge answers what a certificate authority asks over plain HTTP, and leaves the rest
	// to next.
	Challenge(next http.Handler) http.Handler
}

// sorryOfTLS is said to those who want a TLS handshake and get none: a fatal alert (internal
// error). What is said to others they cannot read.
const sorryOfTLS = "\x15\x03\x03\x00\x02\x02\x50"

// refusalTo is what is said to whoever is refused before he said anything.
func (n *Node) refusalTo() string {
	if n.opt.TLS != nil {
		return sorryOfTLS
	}
	return process.Refusal
}

// secureListener makes connections begin with a TLS handshake. The HTTP server does it, in the
// goroutine of the connection, and bounds its time by that of a header.
type secureListener struct {
	net.Listener
	config *tls.Config
}

func (l *secureListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket.Secure(conn, l.config), nil
}

// secured is a listener of TLS, if there are certificates.
func (n *Node) secured(l net.Listener) net.Listener {
	if n.opt.TLS == nil {
		return l
	}
	return &secureListener{Listener: l, config: n.tls}
}

// ConsoleSecured tells whether the listener of the console, which must be there, speaks TLS: where
// its token would cross a network.
func (n *Node) ConsoleSecured() bool {
	at, _ := n.operator.Addr().(*net.TCPAddr)
	return n.opt.TLS != nil && !(at != nil && at.IP.IsLoopback())
}

// openTLS prepares the listener for TLS, and counts handshakes. Without TLS there are none.
func (n *Node) openTLS(port string) {
	at := prometheus.Labels{"port": port}
	done := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: n.opt.MetricsPrefix + "tls_handshakes_total", Help: "TLS handshakes that came through, by version and whether an earlier session was resumed.", ConstLabels: at,
	}, []string{"version", "resumed"})
	for _, version := range []string{"1.2", "1.3"} {
		for _, resumed := range []string{"true", "false"} {
			done.WithLabelValues(version, resumed)
		}
	}
	n.opt.Registry.MustRegister(done, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: n.opt.MetricsPrefix + "tls_certificate_expires_seconds", Help: "When the certificate that ends first ends, as a Unix time; 0 if there is none.", ConstLabels: at,
	}, func() float64 {
		if n.opt.TLS == nil {
			return 0
		}
		return n.opt.TLS.Expires()
	}))
	if n.opt.TLS == nil {
		return
	}
	n.tls = n.opt.TLS.Config()
	n.tls.NextProtos = append([]string{"h2", "http/1.1"}, n.tls.NextProtos...)
	// What one write hands over is one record, whatever its size: frames are there as a whole.
	n.tls.DynamicRecordSizingDisabled = true
	n.tls.VerifyConnection = func(s tls.ConnectionState) error {
		done.WithLabelValues(strings.TrimPrefix(tls.VersionName(s.Version), "TLS "), strconv.FormatBool(s.DidResume)).Inc()
		return nil
	}
}

// speakTLS lets a server speak HTTP/2 with those who want to. The buffers of one connection for
// bodies that nobody reads yet are small: bodies that are read have a bound of their own.
func (n *Node) speakTLS(s *http.Server) {
	if n.opt.TLS == nil {
		return
	}
	s.TLSConfig = n.tls.Clone() // each server completes it for itself
	s.Protocols.SetHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 128 << 10,
		WriteByteTimeout: n.opt.AnswerTimeout + n.opt.Hub.SlowAge,
		// Readers of event streams say nothing, so only asking tells who is gone.
		SendPingTimeout: n.opt.Hub.ActivityTimeout / 2,
	}
}

// maxStreams is how many requests one connection of HTTP/2 may have under way, event streams
// among them.
const maxStreams = 250

// plainly lets in who comes to the port for plain HTTP.
func (n *Node) plainly(l net.Listener) net.Listener {
	if n.opt.Descriptors == nil {
		return l
	}
	return n.opt.Descriptors.Listener(l, process.Public, process.Refusal, nil)
}

// plainServer is that of the port for plain HTTP.
func (n *Node) plainServer() *http.Server {
	s := n.server(n.opt.TLS.Challenge(http.HandlerFunc(n.toSecure)))
	if n.opt.MaxHandshakes > 0 {
		shakes := newHandshakes(n.opt.MaxHandshakes, &n.proxies, n.shakes.refused, n.shakes.unfinished)
		s.ConnState = shakes.state
	}
	return s
}

// toSecure answers on the port for plain HTTP: it sends browsers to the one for TLS. Whoever sends
// a body is told, because it has been read by others on its way already.
func (n *Node) toSecure(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Host == "" {
		rest.TurnAway(w, r)
		rest.Forbidden(w, r, "this port is for sending browsers to https; ask there")
		return
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		// Whoever names the port that is not the usual one reaches this machine directly.
		_, port, _ := net.SplitHostPort(n.Addr())
		if host = net.JoinHostPort(name, port); port == "443" {
			host = strings.TrimSuffix(host, ":443")
		}
	}
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
}

// scarceFor says why an event stream of HTTP/2 must not begin: it comes on a connection that was
// let in when there was room.
func (n *Node) scarceFor(r *http.Request) bool {
	return n.opt.Memory != nil && n.lasts(r) && n.opt.Memory.RefuseConnection()
}

// lasts tells whether a request is for an event stream of HTTP/2, whatever precedes all paths.
func (n *Node) lasts(r *http.Request) bool {
	return r.ProtoMajor >= 2 && stream.Lasts(stripped(r, n.opt.PathPrefix))
}
