package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxOrigin bounds a pattern of an origin in bytes.
const maxOrigin = 253 + len("https://") + len(":65535")

// checkOrigin checks a pattern of allowed_origins: an origin as browsers send it (`https://example.com`,
// `http://localhost:3000`), or a host without a scheme, which stands for http and https on any port. Either may
// have one `*` in the host, which stands for any number of labels (`*.example.com`). `*` alone is every origin
// but `null`.
func checkOrigin(pattern string) error {
	scheme, host, has := strings.Cut(pattern, "://")
	if !has {
		host = pattern
	}
	switch {
	case pattern == "" || host == "":
		return errors.New("is empty")
	case len(pattern) > maxOrigin:
		return fmt.Errorf("has %d bytes, the limit is %d", len(pattern), maxOrigin)
	case strings.EqualFold(pattern, "null"):
		return errors.New("is null, which stands for no origin in particular")
	case has && !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return errors.New("has a scheme other than http and https")
	case strings.Contains(scheme, "*") && has, strings.Count(host, "*") > 1:
		return errors.New("has more than one *, or one outside the host")
	case strings.ContainsAny(host, "/ ?#@"):
		return errors.New("has more than a scheme, a host and a port")
	case pattern == "*":
		return nil
	}
	return checkOriginHost(host)
}

// checkOriginHost refuses hosts that no browser sends, because they would match nothing.
func checkOriginHost(host string) error {
	if strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		return errors.New("has characters beyond ASCII; browsers send the form that begins with xn--")
	}
	name, port, hasPort := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		inner, rest, closed := strings.Cut(host[1:], "]")
		addr, err := netip.ParseAddr(inner)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" || rest != "" && rest[0] != ':' {
			return errors.New("has brackets, but no address of IPv6 in them and nothing or a port behind")
		}
		if shown := addr.String(); !strings.EqualFold(shown, inner) {
			return fmt.Errorf("has an address that browsers write as [%s]", shown)
		}
		name, port, hasPort = "", strings.TrimPrefix(rest, ":"), rest != ""
	}
	switch {
	case strings.Contains(port, ":"):
		return errors.New("has more than one colon; an address of IPv6 needs brackets")
	case hasPort && port != "*" && !isPort(port):
		return fmt.Errorf("has the port %q, must be from 1 to 65535", shorten(port))
	case name == "" && host[0] == '[':
		return nil
	case strings.HasPrefix(name, ".") || strings.Contains(name, "..") || name == "":
		return errors.New("has an empty part in its host; *.example.com stands for all names below example.com")
	case strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.*") != "":
		return errors.New("has a character that no host has")
	}
	return nil
}
