package gateway

import (
	"bytes"
	"net"
	"strings"

	"github.com/pires/go-proxyproto"
)

// The kinds of bytes other than a request with which a connection may begin. They are values of the label limit of
// the metric that counts them.
const (
	beginsWithProxy = "proxy_protocol"
	beginsWithTLS   = "no_tls"
	beginsOtherwise = "not_http"
)

// oddBeginning classifies the first bytes of a connection. It returns "" for those that may begin an HTTP request
// (RFC 9112, section 3: a method is a token; empty lines may precede it).
func oddBeginning(begins []byte) string {
	switch {
	case len(begins) == 0:
		return ""
	case bytes.HasPrefix(begins, proxyproto.SIGV1), bytes.HasPrefix(begins, proxyproto.SIGV2):
		return beginsWithProxy
	case len(begins) > 1 && begins[0] == 0x16 && begins[1] == 0x03:
		return beginsWithTLS // the record of a ClientHello (RFC 8446, section 5.1)
	case strings.IndexByte("\r\n!#$%&'*+-.^_`|~", begins[0]) >= 0, begins[0] >= '0' && begins[0] <= '9',
		begins[0]|0x20 >= 'a' && begins[0]|0x20 <= 'z':
		return ""
	}
	return beginsOtherwise
}

// beginning counts and logs a connection that does not begin with a request. The HTTP server answers it with 400
// and logs nothing, so without this an operator would not learn why a client or a proxy cannot connect. The warnings
// are rate-limited.
func (n *Node) beginning(peer net.Addr, begins []byte) {
	what := oddBeginning(begins)
	if what == "" {
		return
	}
	n.opt.Hub.Metrics.Limited("", what)
	switch what {
	case beginsWithProxy:
		reason := "it is not in trusted_proxies"
		if n.opt.ProxyProtocol == ProxyOff {
			reason = "proxy_protocol is off"
		}
		n.said.Warn(n.opt.Logger, "proxy header", "PROXY headers are refused", "address", peer.String(), "reason", reason)
	case beginsWithTLS:
		n.said.Warn(n.opt.Logger, "no tls", "clients speak TLS to a port that does not: set tls.cert_file and tls.key_file, or have them use ws:// and http:// (pusher-js: forceTLS: false)",
			"address", peer.String())
	default:
		n.opt.Logger.Debug("a connection does not begin with a request", "address", peer.String())
	}
}
