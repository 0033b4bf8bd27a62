package doctor

import (
	"time"
)

// Public is what a client finds at the public address.
type Public struct {
	URL string
	// Err is why it could not be reached, and Health the status of /health.
	Err    error
	Health int
	// TLS is set if it is encrypted, with Version; the certificate is valid for Days.
	TLS     bool
	Version string
	Days    int
	// Handshake is why no WebSocket could be opened, nil if it was. Refused is set if the server itself closed
	// it with a code, so the way to it is open. Activity is the activity timeout that the server has sent.
	Handshake error
	Refused   bool
	Activity  time.Duration
	// Silent is for how long the connection was kept; the client pings after the activity timeout. Cut is after
	// how long it ended, 0 if it did not.
	Silent, Cut time.Duration
	// Local is set if it is on this machine.
	Local bool
}

// JudgePublic judges a public address.
func JudgePublic(p Public) []Finding {
	f := &findings{area: "public address"}
	if p.Err != nil {
		f.fail("reachable", "Check the name, the proxy and whether the server runs.", "%s: %v", p.URL, p.Err)
		return f.all
	}
	if p.Health != 200 {
		f.fail("reachable", "The proxy must pass on requests with their path.", "%s/health answered with %d", p.URL, p.Health)
	} else {
		f.fine("reachable", "%s/health answers", p.URL)
	}
	switch {
	case !p.TLS && !p.Local:
		f.warn("TLS", "Let the proxy, or the server, speak TLS.", "it is not encrypted: keys, events and signatures can be read on the way")
	case !p.TLS:
	case p.Days < 0:
		f.fail("certificate", "Renew it.", "it has expired")
	case p.Days < 14:
		f.warn("certificate", "Renew it.", "it expires in %s", counted(p.Days, "day"))
	default:
		f.fine("certificate", "%s, good for %s", p.Version, counted(p.Days, "day"))
	}
	switch {
	case p.Handshake != nil && !p.Refused:
		f.fail("WebSocket", "Pass on Upgrade and Connection with HTTP/1.1 (docs/proxies.md); `sluice doctor --listen` shows what arrives.", "the handshake fails: %v", p.Handshake)
		return f.all
	case p.Handshake != nil:
		f.warn("WebSocket", "Check the key of the app, and its allowed_origins.", "the way is open, and the server closes the connection: %v", p.Handshake)
		return f.all
	}
	f.fine("WebSocket", "the handshake passes, and the activity time-out is %v", p.Activity)
	switch {
	case p.Cut > 0:
		f.warn("idle connections", "Make the idle time-out of the proxy longer than the activity time-out (proxy_read_timeout in nginx, timeout tunnel in HAProxy), or activity_timeout shorter.",
			"a silent connection was cut after %v, and the activity time-out is %v", p.Cut.Round(time.Second), p.Activity)
	case p.Silent == 0:
		f.note("idle connections", "", "whether a proxy cuts them was not tried; --idle %v tries it", (p.Activity + 10*time.Second).Round(time.Second))
	case p.Silent < p.Activity:
		f.note("idle connections", "", "one lived for %v; the activity time-out is %v, so that this says little", p.Silent, p.Activity)
	default:
		f.fine("idle connections", "one lived for %v, longer than the activity time-out of %v", p.Silent, p.Activity)
	}
	return f.all
}
