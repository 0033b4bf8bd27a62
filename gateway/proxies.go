package gateway

import (
	"net/http"
	"net/netip"
	"strings"
)

// ProxyHeader says which header of a trusted proxy names the client. The zero value is [AnyHeader].
type ProxyHeader uint8

const (
	// AnyHeader uses the one that is present. If both are present and differ, neither is used: a proxy writes
	// one of them, and may pass on what a client wrote into the other.
	AnyHeader ProxyHeader = iota
	XForwardedFor
	Forwarded // RFC 7239
	NoHeader
)

// proxies finds the client behind trusted proxies.
type proxies struct {
	trusted []netip.Prefix
	header  ProxyHeader
}

// trusts reports whether an address belongs to a trusted proxy.
func (p *proxies) trusts(addr netip.Addr) bool {
	for _, network := range p.trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// client returns the address of the client of a request that arrived from peer, as far as it is proven. Each
// proxy vouches for the address in front of its own. So headers are read from their end, and the first
// address that is not a trusted proxy is the client; anybody may have written what is before it. An element
// that cannot be read ends the search at the proxy that wrote it. single is false if the address belongs to a
// trusted proxy, which stands for many clients.
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
			// A sender of both headers counts as one client, about which no more is known.
			return peer, true
		}
	}
	return addr, !p.trusts(addr)
}

// walk reads the elements of a header from the last to the first.
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

// plainHop reads an element of X-Forwarded-For: an address with or without a port.
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

// isPort reports whether text is ":" and a port as RFC 7239 allows it: digits, or an obfuscated name.
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

// forwardedHop reads the `for` parameter of an element of Forwarded. A hidden or unknown address gives false.
// The element was cut at commas without regard to quotes. A comma within quotes leaves parts that cannot be
// read, so an opening quote of a client cannot swallow what a proxy has added.
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

// unquoted returns the value of a token or of a complete quoted string.
func unquoted(value string) (string, bool) {
	inner, quoted := strings.CutPrefix(value, `"`)
	if !quoted {
		for _, c := range []byte(value) {
			// Colons and brackets require quotes, but are often left bare.
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

// plain normalizes an address: without a zone, and IPv4 as IPv4.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// peerOf parses the address of a connection or a request, "host:port".
func peerOf(text string) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(text)
	return plain(at.Addr()), err == nil
}
