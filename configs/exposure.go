package configs

import (
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
)

var (
	bearer = regexp.MustCompile(`^[\x21-\x7e]*$`)
)

// checkExposure checks what others than the clients of apps can reach.
func (c *Config) checkExposure(p *problems) {
	for _, name := range c.AllowedHosts {
		if _, ok := plainHost(name); !ok {
			p.at("allowed_hosts", "allowed_hosts has %q, must be a host name or an address without a port", shorten(name))
		}
	}
	if !bearer.MatchString(c.Metrics.Token.Reveal()) {
		p.at("metrics.token", "metrics.token has characters that a header cannot carry, must be visible ASCII without spaces")
	}
	if c.Metrics.Port >= 0 && !loopback(c.Metrics.Host) && c.Metrics.Token == "" && p.sound("metrics.token", "metrics.port") {
		p.at("metrics.host", "metrics.host is %q and metrics.token is not set, but metrics name channels and must not be for everybody; set metrics.token, or leave metrics.host at 127.0.0.1", shorten(c.Metrics.Host))
	}
}

// leastToken and mostToken bound the length of the console's token, and variety is the minimum number of
// different characters. The console answers as many guesses as connections can be made, because the right token
// is always accepted, so only the token itself protects against guessing.
const leastToken, mostToken, variety = 16, 200, 8

// checkConsole checks the settings of the console and the profiler.
func (c *Config) checkConsole(p *problems) {
	token := c.Console.Token.Reveal()
	switch {
	case token == "" || !p.sound("console.token"):
	case !bearer.MatchString(token):
		p.at("console.token", "console.token has characters that a header cannot carry, must be visible ASCII without spaces")
	case len(token) < leastToken || len(token) > mostToken:
		p.at("console.token", "console.token has %d characters, must have %d to %d; `openssl rand -base64 24` makes one", len(token), leastToken, mostToken)
	case different(token) < variety:
		p.at("console.token", "console.token has only %d different characters, must have %d or more, so that nobody guesses it; `openssl rand -base64 24` makes one", different(token), variety)
	}
	if c.Console.Enabled && c.Console.Port >= 0 && !loopback(c.Console.Host) && token == "" && p.sound("console.token", "console.port") {
		p.at("console.host", "console.host is %q and console.token is not set, but the console shows all events and closes connections; set console.token (or console.token_file), or leave console.host at 127.0.0.1", shorten(c.Console.Host))
	}
	if c.Pprof == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Pprof)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		p.at("debug.pprof", "debug.pprof is %q, must be an address and a port, such as 127.0.0.1:6060", shorten(c.Pprof))
	} else if !loopback(host) {
		p.at("debug.pprof", "debug.pprof is %q, but profiles show what is in the memory of the process and must stay on this machine; use 127.0.0.1", shorten(c.Pprof))
	}
}

// different returns the number of different characters.
func different(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}

// ConsoleIsExposed reports whether other machines can reach the console's listener without TLS.
func (c *Config) ConsoleIsExposed() bool {
	return c.Console.Enabled && c.Console.Port >= 0 && !loopback(c.Console.Host) && !c.TLS.Enabled()
}

// networks parses addresses and networks. IPv4-mapped IPv6 becomes IPv4.
func networks(name string, list []string, p *problems) (out []netip.Prefix) {
	for _, text := range list {
		n, err := network(text)
		if err != nil {
			p.add("%s has %q, %v", name, shorten(text), err)
			continue
		}
		out = append(out, n)
	}
	return out
}

func network(text string) (netip.Prefix, error) {
	const want = "must be an address, or a network such as 10.0.0.0/8 or fd00::/8"
	n, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return n, errors.New(want)
		}
		n = netip.PrefixFrom(addr, addr.BitLen())
	}
	if n.Addr().Is4In6() {
		if n.Bits() < 96 {
			return n, errors.New(want)
		}
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	if n.Bits() == 0 {
		return n, errors.New("must not be everybody: whoever is believed can be anybody")
	}
	return n.Masked(), nil
}
