package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// ProxyHeader says which header of a trusted proxy tells the client. The zero value is
// [AnyHeader].
type ProxyHeader uint8

const (
	// AnyHeader takes the one that is there. If both are and they differ, neither is
	// believed: a proxy writes one of them and may pass on what a client wrote into
	// the other.
	AnyHeader ProxyHeader = iota
	XForwardedFor
	Forwarded // RFC 7239
	NoHeader
)

// proxies find the client behind the proxies that are trusted.
type proxies struct {
	trusted []netip.Prefix
	header  ProxyHeader
}

// trusts tells whether an address is that of a proxy.
func (p *proxies) trusts(addr netip.Addr) bool {
	for _, network := range p.trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// client is where a request comes from that arrived from peer, as far as that is proven:
// each proxy vouches for the address in front of its own, so the headers are read from
// their ends, and the first address that is not a proxy is the client. What stands before
// it, anybody may have written. What cannot be read ends the walk at the proxy that wrote
// it. single is false for an address that stands for many clients, since it is a proxy's
// who does not say more.
func (p *proxies) client(peer netip.Addr, h http.Header) (addr netip.Addr, single bool) {
	if !p.trusts(peer) {
		return peer, true
	}
	addr = peer
	switch xff, forwarded := h["X-Forwarded-For"], h["Forwarded"]; {
	case p.header == NoHeader:
	case p.header == XForwardedFor, p.header == AnyHeader && len(forwarded) == 0:
		addr = p.walk(peer, xff, plainHop)
	case p.header == Forwarded, p.header == AnyHeader && len(xff) == 0:
		addr = p.walk(peer, forwarded, forwardedHop)
	default:
		addr = p.walk(peer, xff, plainHop)
		if addr != p.walk(peer, forwarded, forwardedHop) {
			// Whoever sends both is one client, of whom no more is known.
			return peer, true
		}
	}
	return addr, !p.trusts(addr)
}

// walk goes through the elements of a header from the last to the first.
func (p *proxies) walk(peer netip.Addr, lines []string, hop func(string) (netip.Addr, bool)) netip.Addr {
	addr := peer
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var element string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, element = rest[:at], rest[at+1:]
			} else {
				element, more = rest, false
			}
			next, ok := hop(strings.Trim(element, " \t"))
			if !ok {
				return addr
			}
			if addr = next; !p.trusts(addr) {
				return addr
			}
		}
	}
	return addr
}

// plainHop reads an element of X-Forwarded-For: an address, perhaps with a port.
func plainHop(text string) (netip.Addr, bool) {
	if inner, bracketed := strings.CutPrefix(text, "["); bracketed {
		inside, port, closed := strings.Cut(inner, "]")
		if !closed || port != "" && !isPort(port) {
			return netip.Addr{}, false
		}
		addr, err := netip.ParseAddr(inside)
		return plain(addr), err == nil && addr.Is6()
	}
	if host, port, one := strings.Cut(text, ":"); one && !strings.Contains(port, ":") {
		if !isPort(":" + port) {
			return netip.Addr{}, false
		}
		text = host
	}
	addr, err := netip.ParseAddr(text)
	return plain(addr), err == nil
}

// isPort takes what Forwarded allows for a port: digits, or a name that hides one.
func isPort(text string) bool {
	if len(text) < 2 || text[0] != ':' {
		return false
	}
	hidden := text[1] == '_'
	for _, c := range []byte(text[1:]) {
		if (c < '0' || c > '9') && !(hidden && isToken(c)) {
			return false
		}
	}
	return hidden || len(text) <= 6
}

// forwardedHop reads an element of Forwarded, of which `for` counts. An address that is
// hidden or unknown is none. The element was cut at commas without a look at quotes: one
// in a quoted value leaves halves that cannot be read, and what a client may have begun
// to quote cannot swallow what a proxy has added.
func forwardedHop(text string) (addr netip.Addr, ok bool) {
	for _, pair := range strings.Split(text, ";") {
		name, value, found := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !found || name == "" {
			return netip.Addr{}, false
		}
		if value, found = unquoted(value); !found {
			return netip.Addr{}, false
		}
		if !strings.EqualFold(name, "for") {
			continue
		}
		if ok {
			return netip.Addr{}, false // twice
		}
		if addr, ok = plainHop(value); !ok {
			return netip.Addr{}, false
		}
	}
	return addr, ok
}

// unquoted is the value of a token or of a whole quoted text.
func unquoted(value string) (string, bool) {
	inner, quoted := strings.CutPrefix(value, `"`)
	if !quoted {
		for _, c := range []byte(value) {
			// Colons and brackets belong into quotes, and are often left bare.
			if !isToken(c) && c != ':' && c != '[' && c != ']' {
				return "", false
			}
		}
		return value, value != ""
	}
	inner, closed := strings.CutSuffix(inner, `"`)
	return inner, closed && !strings.ContainsAny(inner, `"\`)
}

func isToken(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// plain is an address in one form: without a zone, and IPv4 as IPv4.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// peerOf is the address of a connection or a request.
func peerOf(text string) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(text)
	return plain(at.Addr()), err == nil
}
