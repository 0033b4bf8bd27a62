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

// Certificates provides the certificates of a node. All methods but Run are safe for concurrent use.
type Certificates interface {
	// Config returns the TLS configuration of the listener. It is called once; the certificates that it
	// presents may change later.
	Config() *tls.Config
	// Run keeps the certificates current until ctx is done. at is the address of the listener.
	Run(ctx context.Context, at net.Addr)
	// Problems returns what is wrong although clients are served.
	Problems() []string
	// Missing returns why there is no certificate, empty if there is one.
	Missing() string
	// Expires returns the earliest expiry of a certificate in Unix seconds, 0 if there is no certificate.
	Expires() float64
	// Challenge answers challenges of a certificate authority over plain HTTP, and passes other requests to
	// next.
	Challenge(next http.Handler) http.Handler
}

// sorryOfTLS is the answer to clients whose TLS handshake is refused: a fatal alert (internal_error). They
// could not read anything else.
const sorryOfTLS = "\x15\x03\x03\x00\x02\x02\x50"

// refusalTo returns the answer to connections that are refused before they sent anything.
func (n *Node) refusalTo() string {
	if n.opt.TLS != nil {
		return sorryOfTLS
	}
	return process.Refusal
}

// secureListener wraps connections in TLS. The HTTP server does the handshake in the goroutine of the
// connection, within the time for a header.
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

// secured wraps a listener in TLS, if there are certificates.
func (n *Node) secured(l net.Listener) net.Listener {
	if n.opt.TLS == nil {
		return l
	}
	return &secureListener{Listener: l, config: n.tls}
}

// ConsoleSecured reports whether the listener of the console speaks TLS: if there are certificates, and its
// address is not a loopback address, so that the token would cross a network. The console must have a
// listener.
func (n *Node) ConsoleSecured() bool {
	at, _ := n.operator.Addr().(*net.TCPAddr)
	return n.opt.TLS != nil && !(at != nil && at.IP.IsLoopback())
}

// openTLS prepares TLS for the listener, and registers its metrics, which exist without TLS as well.
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
	// One write makes one record, whatever its size, because frames are written as a whole.
	n.tls.DynamicRecordSizingDisabled = true
	n.tls.VerifyConnection = func(s tls.ConnectionState) error {
		done.WithLabelValues(strings.TrimPrefix(tls.VersionName(s.Version), "TLS "), strconv.FormatBool(s.DidResume)).Inc()
		return nil
	}
}

// speakTLS configures TLS and HTTP/2 for a server. The receive buffers of a connection are small, because
// bodies that are read have their own bound.
func (n *Node) speakTLS(s *http.Server) {
	if n.opt.TLS == nil {
		return
	}
	s.TLSConfig = n.tls.Clone() // each server adds to it
	s.Protocols.SetHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 128 << 10,
		WriteByteTimeout: n.opt.AnswerTimeout + n.opt.Hub.SlowAge,
		// Readers of event streams send nothing, so only a ping finds out that one has gone.
		SendPingTimeout: n.opt.Hub.ActivityTimeout / 2,
	}
}

// maxStreams bounds the concurrent requests of one HTTP/2 connection, event streams included.
const maxStreams = 250

// plainly returns the server of the port for plain HTTP, and the listener that it accepts from. A proxy in front of
// both ports sends PROXY headers to both.
func (n *Node) plainly() (*http.Server, net.Listener) {
	s, l := n.server(n.opt.TLS.Challenge(http.HandlerFunc(n.toSecure))), n.plain
	if n.opt.Descriptors != nil {
		l = n.opt.Descriptors.Listener(l, process.Public, process.Refusal, nil)
	}
	var shakes *handshakes
	if n.opt.MaxHandshakes > 0 {
		shakes = newHandshakes(n.opt.MaxHandshakes, &n.proxies, n.shakes.refused, n.shakes.unfinished)
		s.ConnState = shakes.state
	}
	return s, n.behindProxies(l, shakes)
}

// toSecure redirects browsers from the port for plain HTTP to https. A request with a body is refused,
// because others have read the body on its way already.
func (n *Node) toSecure(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Host == "" {
		rest.TurnAway(w, r)
		rest.Forbidden(w, r, "this port is for sending browsers to https; ask there")
		return
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		// A client that names an unusual port reaches this machine directly.
		_, port, _ := net.SplitHostPort(n.Addr())
		if host = net.JoinHostPort(name, port); port == "443" {
			host = strings.TrimSuffix(host, ":443")
		}
	}
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
}

// scarceFor reports whether an event stream of HTTP/2 must be refused for lack of memory. Its connection was
// admitted when there was enough.
func (n *Node) scarceFor(r *http.Request) bool {
	return n.opt.Memory != nil && n.lasts(r) && n.opt.Memory.RefuseConnection()
}

// lasts reports whether a request asks for an event stream of HTTP/2. The path prefix is taken off.
func (n *Node) lasts(r *http.Request) bool {
	return r.ProtoMajor >= 2 && stream.Lasts(stripped(r, n.opt.PathPrefix))
}
