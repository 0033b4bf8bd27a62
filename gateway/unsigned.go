package gateway

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// allowUnsigned reports whether a request needs no signature: in development mode, from this machine, and not
// passed on by a proxy. A page of another site can make the developer's browser send requests to this port,
// also by a host name (DNS rebinding). The headers Origin and Host reveal such requests.
func (n *Node) allowUnsigned(r *http.Request) bool {
	if !n.opt.Unsigned || !isLoopback(r.RemoteAddr) || !(local{}).isHost(r.Host) || forwarded(r) {
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host)
	}
	return true
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
