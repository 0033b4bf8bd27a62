package configs

import (
	"regexp"
	"strings"
)

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)
	bearer   = regexp.MustCompile(`^[\x21-\x7e]*$`)
)

// checkExposure looks at what others than the clients of apps can reach.
func (c *Config) checkExposure(p *problems) {
	for _, name := range c.AllowedHosts {
		if !hostName.MatchString(name) && !strings.HasPrefix(name, "[") {
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
