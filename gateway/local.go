package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/sluicehq/sluice/gateway/app"
)

// local distinguishes requests of this machine from requests that a page of another site makes a local
// browser send. Such a page can reach every local port, and may know published secrets. With a host name of
// its own that resolves to a loopback address (DNS rebinding), it can also read the answers. It cannot choose
// the headers Host, Origin and Sec-Fetch-Site, so these reveal it. Clients other than browsers may omit the
// latter two.
type local struct {
	// hosts are names in addition to those of this machine, without ports.
	hosts []string
}

// refusal returns why a request must not be answered, "" if it may be. Pages of origins that an app lists may
// reach that app.
func (l local) refusal(r *http.Request, a *app.App) string {
	if !l.isHost(r.Host) {
		return fmt.Sprintf("this is a server for one machine; Host is %.100q, must be localhost or a loopback address, or be among allowed_hosts", r.Host)
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		listed := origin != "" && a != nil && len(a.Origins) > 0 && a.AllowsOrigin(origin)
		if !listed && !l.isOrigin(origin) {
			return fmt.Sprintf("this is a server for pages of one machine; Origin is %.100q, must be of localhost or a loopback address, be among allowed_hosts, or be allowed by allowed_origins of the app", origin)
		}
	}
	if len(origins) == 0 && strings.EqualFold(r.Header.Get("Sec-Fetch-Site"), "cross-site") {
		return "this is a server for pages of one machine, and a page of another site has sent this request"
	}
	return ""
}

// isHost reports whether a host, with or without a port, is a name or address of this machine that nobody
// else can assign.
func (l local) isHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if isLocalName(host) {
		return true
	}
	for _, also := range l.hosts {
		if sameHost(also, host) {
			return true
		}
	}
	return false
}

// sameHost compares hosts without ports. A name may end in a dot. An IPv6 address may have brackets and
// different spellings.
func sameHost(a, b string) bool {
	one, errA := netip.ParseAddr(unbracketed(a))
	two, errB := netip.ParseAddr(unbracketed(b))
	if errA == nil && errB == nil {
		return one.Unmap() == two.Unmap()
	}
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

func unbracketed(host string) string {
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		return strings.TrimSuffix(inner, "]")
	}
	return host
}

// isOrigin reports whether an origin is on this machine. Any port counts, because a developer may run several
// servers.
func (l local) isOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme != "" && u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == "" && l.isHost(u.Host)
}

// isLocalName reports whether a host is localhost, which browsers never look up, or a loopback address.
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(unbracketed(host))
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// refusal returns why a development server refuses a request, see [local.refusal].
func (n *Node) refusal(r *http.Request, a *app.App) string {
	if !n.opt.Local {
		return ""
	}
	return n.local.refusal(r, a)
}
