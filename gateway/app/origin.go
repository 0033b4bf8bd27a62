package app

import "strings"

// AllowsOrigin reports whether a page of that origin may connect. A pattern is an origin as browsers send it
// (`https://example.com`, `http://localhost:3000`), or a host without a scheme, which stands for http and https
// on any port. Either may have one `*` in the host, which stands for any text: `*.example.com` is every name
// below example.com, and `*example.com` also example.com itself. `*` alone is every origin but `null`. A
// connection without an origin is always allowed, because it does not come from a browser.
func (a *App) AllowsOrigin(origin string) bool {
	if len(a.Origins) == 0 || origin == "" {
		return true
	}
	origin = strings.ToLower(origin)
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return false // null, or something that browsers do not send
	}
	host = withoutDefaultPort(scheme, host)
	name, full := host, host
	// An IPv6 address has colons within brackets.
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		name = host[:at]
	} else {
		full += defaultPort(scheme)
	}
	for _, pattern := range a.Origins {
		pattern = strings.ToLower(pattern)
		if pattern == "*" {
			return true
		}
		wantScheme, want, has := strings.Cut(pattern, "://")
		if has {
			if wantScheme == scheme && hostMatches(withoutDefaultPort(scheme, want), host) {
				return true
			}
			continue
		}
		if hostMatches(pattern, full) || hostMatches(pattern, name) {
			return true
		}
	}
	return false
}

func withoutDefaultPort(scheme, host string) string {
	return strings.TrimSuffix(host, defaultPort(scheme))
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return ":443"
	}
	return ":80"
}

func hostMatches(pattern, host string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == host
	}
	// The label before a dot is not empty.
	least := len(head) + len(tail)
	if strings.HasPrefix(tail, ".") {
		least++
	}
	return len(host) >= least && strings.HasPrefix(host, head) && strings.HasSuffix(host, tail)
}
