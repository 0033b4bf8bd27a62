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

// local tells requests of this machine from those that a page of another site makes a
// browser on it send. Such a page can reach every port here, and can know secrets that
// are published; by a name of its own that turns into a loopback address (DNS rebinding)
// it can read answers, too. It cannot choose the headers Host, Origin and Sec-Fetch-Site,
// which give it away. What is no browser may lack the latter two.
type local struct {
	// hosts are names beside those of this machine, without ports.
	hosts []string
}

// refusal says why a request must not be answered, "" if it may. The pages that an app
// lists may reach that app.
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

// isHost tells whether a host, with or without a port, is this machine by a name that
// nobody else can give out.
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

// sameHost compares hosts without ports: a name may end in a dot, and an address of IPv6 may have
// brackets and other forms.
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

// isOrigin tells whether a page is of this machine: of any port, since it is no matter
// which server of the developer it comes from.
func (l local) isOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme != "" && u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == "" && l.isHost(u.Host)
}

// isLocalName knows localhost, which browsers never look up, and loopback addresses.
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(unbracketed(host))
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// refusal is that of a development server, which is for this machine only.
func (n *Node) refusal(r *http.Request, a *app.App) string {
	if !n.opt.Local {
		return ""
	}
	return n.local.refusal(r, a)
}
