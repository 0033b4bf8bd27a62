package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// label matches a part of a host name. Names in private networks may have underscores.
var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// isHostName reports whether a text is a name that can be resolved; it may end in a dot. A name whose last label
// is a number is an address, or meant as one.
func isHostName(text string) bool {
	text = strings.TrimSuffix(text, ".")
	labels := strings.Split(text, ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return false
		}
	}
	return len(text) <= 253 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// plainHost returns a host, a name or an address without a port, without the brackets of an IPv6 address. It
// reports false if the text is neither.
func plainHost(text string) (string, bool) {
	inner, bracketed := strings.CutPrefix(text, "[")
	if bracketed {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return text, false
		}
	}
	addr, err := netip.ParseAddr(inner)
	switch {
	case err == nil:
		return inner, !bracketed || addr.Is6()
	case bracketed:
		return text, false
	}
	return text, isHostName(text)
}

// listenHost returns the host of a key to listen on, without brackets.
func listenHost(name, text string, p *problems) string {
	host, ok := plainHost(text)
	if text != "" && !ok {
		p.at(name, "%s is %q, must be an address or a host name of this machine, without a port; 0.0.0.0 and :: are all addresses", name, shorten(text))
	}
	return host
}

// isPort reports whether a text is a port number to which clients can connect.
func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535 && text[0] != '+'
}

// reachable reports whether the host and the port of a URL are valid for a client. An IPv6 address needs
// brackets.
func reachable(u *url.URL) bool {
	host, bracketed := u.Hostname(), strings.HasPrefix(u.Host, "[")
	if strings.Contains(host, ":") && !bracketed || strings.HasSuffix(u.Host, ":") {
		return false
	}
	return u.Port() == "" || isPort(u.Port())
}

// checkClashes refuses two listeners with the same address, of which one could not start.
func (c *Config) checkClashes(p *problems) {
	type listener struct {
		key, host string
		port      int
	}
	all := []listener{{"port", c.Host, c.Port}, {"tls.http_port", c.Host, c.TLS.HTTPPort}, {"metrics.port", c.Metrics.Host, c.Metrics.Port}}
	if c.Console.Enabled {
		all = append(all, listener{"console.port", c.Console.Host, c.Console.Port})
	}
	if u, err := url.Parse("tcp://" + c.Pprof); err == nil && c.Pprof != "" {
		port, _ := strconv.Atoi(u.Port())
		all = append(all, listener{"debug.pprof", u.Hostname(), port})
	}
	if c.Embeds() {
		all = append(all, listener{"nats.embedded.port", c.NATS.Embedded.Host, c.NATS.Embedded.Port})
	}
	for i, b := range all {
		for _, a := range all[:i] {
			if b.port > 0 && a.port == b.port && sameHosts(a.host, b.host) && p.sound(a.key, b.key) {
				p.at(b.key, "%s is %d, which is that of %s as well; each listener needs a port of its own", b.key, b.port, a.key)
			}
		}
	}
}

// sameHosts reports whether two listeners with the same port would conflict, as far as the texts show.
func sameHosts(a, b string) bool {
	one, errA := listenAddr(a)
	two, errB := listenAddr(b)
	switch {
	case errA == nil && one.IsUnspecified() || errB == nil && two.IsUnspecified():
		return true
	case errA == nil && errB == nil:
		return one == two
	}
	return strings.EqualFold(a, b)
}

// listenAddr returns the address of a listener; for localhost it is that of IPv4.
func listenAddr(host string) (netip.Addr, error) {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err
}

// redisURL returns what is wrong with the URL of a Redis server, "" if it is valid.
func redisURL(text string, cluster bool) string {
	const want = "must be redis:// or rediss:// with a host, and a port and the number of a database if need be: redis://[user:password@]host[:port][/database]"
	u, err := url.Parse(text)
	if err != nil {
		return want
	}
	switch u.Scheme {
	case "redis", "rediss", "valkey", "valkeys":
	default:
		return want
	}
	if !reachable(u) {
		return want
	}
	if number, has := strings.CutPrefix(u.Path, "/"); has {
		n, err := strconv.Atoi(number)
		switch {
		case err != nil || n < 0:
			return want
		case n > 0 && cluster:
			return "names a database, and a cluster has none but 0"
		}
	}
	for _, more := range u.Query()["addr"] {
		// Without a port the library would use the first address again.
		if other, err := url.Parse("tcp://" + more); err != nil || other.Hostname() == "" || other.Port() == "" || !reachable(other) {
			return fmt.Sprintf("has the further address %q, must be a host and a port", shorten(more))
		}
	}
	return ""
}

// sameServers reports whether two URLs differ at most in the user and the password.
func sameServers(a, b string) bool {
	one, errA := url.Parse(a)
	two, errB := url.Parse(b)
	if errA != nil || errB != nil {
		return a == b
	}
	one.User, two.User = nil, nil
	return one.String() == two.String()
}
