package gateway

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// allowUnsigned says whether a request may go without a signature: in
// development mode, from this machine, and not on behalf of somebody else. A
// page of another site that the developer happens to look at can make the
// browser send requests to this port, by name as well (DNS rebinding); Origin
// and Host give such requests away.
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
