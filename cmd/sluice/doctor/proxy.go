package doctor

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Arrival is a request as it arrived at the listener.
type Arrival struct {
	// Peer is the address of the connection, and Claimed that of a PROXY header, if there is one.
	Peer, Claimed netip.Addr
	Method, Path  string
	Host          string
	Header        http.Header
}

// Proxies are the settings of a configuration about proxies.
type Proxies struct {
	Trusted []netip.Prefix
	// Header is auto, x-forwarded-for, forwarded or none. Protocol is optional, required or off.
	Header, Protocol string
	// PublicHost is the host of the public address, empty if it is unknown.
	PublicHost string
	// Sent is the path of the request as sent, without its query; empty if it is unknown. Prefix is the path
	// prefix of the server.
	Sent, Prefix string
}

func (p Proxies) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(a.Unmap()) })
}

// JudgeArrival judges how a gateway would treat a request that arrived.
func JudgeArrival(a Arrival, p Proxies) []Finding {
	f := &findings{area: "proxy"}
	forwarded, standard := a.Header.Get("X-Forwarded-For"), a.Header.Get("Forwarded")
	speaks := a.Claimed.IsValid()
	proxied := forwarded != "" || standard != "" || speaks || a.Header.Get("Via") != "" || a.Header.Get("X-Forwarded-Proto") != "" || a.Header.Get("X-Real-Ip") != ""
	switch {
	case !proxied && a.Peer.IsLoopback():
		f.note("who connects", "", "%s: no header of a proxy came along", a.Peer)
	case !proxied:
		f.fine("who connects", "%s, without a header of a proxy: the limits of one address go by it", a.Peer)
	case speaks && !p.trusts(a.Peer):
		f.fail("trusted_proxies", "Add "+a.Peer.String()+" (or its network) to trusted_proxies.", "%s speaks the PROXY protocol and is not trusted: such connections are refused", a.Peer)
	case !p.trusts(a.Peer):
		f.warn("trusted_proxies", "Add "+a.Peer.String()+" (or its network) to trusted_proxies.", "the request came through a proxy at %s, which is not trusted: all its clients count as one address", a.Peer)
	default:
		f.fine("trusted_proxies", "the request came through %s, which is trusted", a.Peer)
	}
	if proxied {
		judgeClient(f, a, p, forwarded, standard)
	}
	if p.Protocol == "required" && !speaks {
		f.fail("proxy_protocol", "Let the proxy send it, or set proxy_protocol: optional.", "proxy_protocol is required and %s does not speak it: such connections are closed", a.Peer)
	}
	if speaks && p.Protocol == "off" {
		f.fail("proxy_protocol", "Set proxy_protocol: optional.", "the proxy speaks the PROXY protocol and proxy_protocol is off: such connections are refused")
	}
	switch host := hostOf(a.Host); {
	case p.PublicHost != "" && !strings.EqualFold(host, p.PublicHost):
		f.warn("Host", "Pass it on: proxy_set_header Host $host in nginx.", "it arrived as %q, and the public address is %q", a.Host, p.PublicHost)
	default:
		f.fine("Host", "it arrived as %q", a.Host)
	}
	judgePath(f, a, p)
	if strings.HasPrefix(a.Path, "/app/") || strings.Contains(a.Path, "/app/") {
		upgrade, connection := a.Header.Get("Upgrade"), a.Header.Get("Connection")
		if strings.EqualFold(upgrade, "websocket") && strings.Contains(strings.ToLower(connection), "upgrade") && a.Header.Get("Sec-Websocket-Key") != "" {
			f.fine("WebSocket", "the headers of the handshake passed")
		} else {
			f.fail("WebSocket", "Pass them on: HTTP/1.1 to the gateway, with Upgrade and Connection (docs/proxies.md).", "the headers of the handshake did not pass: Upgrade is %q, Connection %q", upgrade, connection)
		}
		if a.Header.Get("Origin") == "" {
			f.note("Origin", "", "there is none; browsers send one, and the proxy must pass it on")
		}
	}
	return f.all
}

// judgePath judges changes of the path, which signatures cover.
func judgePath(f *findings, a Arrival, p Proxies) {
	const asItIs = "Pass the path on as it is: in nginx, proxy_pass without a path (docs/proxies.md)."
	path, _, _ := strings.Cut(a.Path, "?")
	switch stripped := strings.TrimSuffix(p.Sent, path); {
	case p.Sent == "":
	case p.Sent != path && stripped == p.Sent:
		f.fail("path", asItIs, "it was sent as %q and arrived as %q: requests for some channels get 401 or 404", p.Sent, path)
	case p.Prefix != "" && !strings.HasPrefix(path, p.Prefix+"/"):
		f.fail("path", "Let it arrive with path_prefix, or change that.", "it was sent as %q and arrived as %q, which does not begin with path_prefix (%s): requests get 404", p.Sent, path, p.Prefix)
	case p.Prefix == "" && !strings.HasPrefix(path, "/app/"):
		f.fail("path", "Set path_prefix to what precedes the path.", "it arrived as %q, and path_prefix is not set: requests get 404", path)
	case p.Sent != path:
		f.warn("path", "Set path_prefix, and "+strings.ToLower(asItIs[:1])+asItIs[1:], "%s was taken from its beginning", stripped)
	default:
		f.fine("path", "it arrived as it was sent")
	}
}

// judgeClient judges how the proxy names the client.
func judgeClient(f *findings, a Arrival, p Proxies, forwarded, standard string) {
	speaks := a.Claimed.IsValid()
	switch {
	case speaks:
		f.fine("address of the client", "%s, by the PROXY protocol", a.Claimed)
	case p.Header == "none":
		f.warn("proxy_header", "Set proxy_header to what the proxy sends, or let it speak the PROXY protocol.", "proxy_header is none, and the proxy does not speak the PROXY protocol: nobody tells the address of the client")
	case forwarded == "" && standard == "":
		f.warn("address of the client", "Let the proxy add X-Forwarded-For.", "the proxy tells it in no header that is read")
	case p.Header == "x-forwarded-for" && forwarded == "", p.Header == "forwarded" && standard == "":
		f.warn("proxy_header", "Set proxy_header: auto, or to the other one.", "proxy_header is %s, and the proxy sends the other one", p.Header)
	case forwarded != "" && standard != "" && p.Header == "auto":
		f.note("proxy_header", "Set proxy_header to the one that the proxy sets; clients can make up the other.", "both X-Forwarded-For and Forwarded came")
	default:
		f.fine("address of the client", "X-Forwarded-For is %q, Forwarded is %q", forwarded, standard)
	}
}

func hostOf(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i > 0 && !strings.HasSuffix(hostport, "]") {
		hostport = hostport[:i]
	}
	return strings.Trim(hostport, "[]")
}
