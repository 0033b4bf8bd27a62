package configs

import (
	"fmt"
	"regexp"
)

// leastBytes is the minimum size of an app's log: with less, an event could be stored and removed at once.
const leastBytes = 1 << 20

var (
	metricPrefix = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]{0,63})?$`)
	dotSegment   = regexp.MustCompile(`/\.\.?(/|$)`)
	urlPath      = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
)

// checkLimits checks values for which the range of their key is not enough.
func (c *Config) checkLimits(p *problems) {
	if !urlPath.MatchString(c.PathPrefix) || len(c.PathPrefix) > 200 || dotSegment.MatchString(c.PathPrefix) {
		p.at("path_prefix", "path_prefix is %q, must begin with / and not end with it, and have only letters, digits and . _ ~ - between, no part of dots alone, 200 bytes in all", shorten(c.PathPrefix))
	}
	if !metricPrefix.MatchString(c.Metrics.Prefix) {
		p.at("metrics.prefix", "metrics.prefix is %q, must be up to 64 letters, digits, _ and :, and not begin with a digit", shorten(c.Metrics.Prefix))
	}
	if least := 4 * c.HTTP.MaxBody; c.HTTP.MaxBodies < least {
		p.add("http.max_bodies is %d, must be %d or more, four times http.max_body", c.HTTP.MaxBodies, least)
	}
	for _, l := range []struct {
		name         string
		value, least int64
	}{
		{"memory.limit", c.MemoryLimit, 64 << 20}, {"websocket.total_message_bytes", c.WebSocket.TotalMessageBytes, 1 << 20}, {"websocket.total_queue_bytes", c.WebSocket.TotalQueueBytes, 1 << 20},
		{"delta_compression.max_total_base_bytes", c.Delta.TotalBases, 1 << 20},
		{"connection_recovery.max_total_bytes", c.Recovery.TotalBytes, 1 << 20},
	} {
		if l.value > 0 && l.value < l.least {
			p.add("%s is %d, must be %d or more, or 0 to leave it to the machine", l.name, l.value, l.least)
		}
	}
	if c.History.MaxMessages == 0 {
		p.at("history.max_messages", "history.max_messages is 0, must be 1 or more, or -1 for no bound")
	}
	if c.History.MaxBytes == 0 {
		p.at("history.max_bytes", "history.max_bytes is 0, must be %d or more, or -1 for no bound", leastBytes)
	}
	if c.Driver == "local" && c.History.MaxBytes < 0 {
		p.at("history.max_bytes", "history.max_bytes is %d, but a log in memory (adapter.driver local) needs a bound", c.History.MaxBytes)
	}
}

// checkSizes refuses logs that are too small for their apps.
func (c *Config) checkSizes(p *problems) {
	for i := range c.Apps {
		c.checkSize(fmt.Sprintf("apps[%d].", i), &c.Apps[i], p)
	}
}

// checkSize is checkSizes for one app; where names it in messages.
func (c *Config) checkSize(where string, a *App, p *problems) {
	least := max(leastBytes, 4*int64(a.MaxPayload))
	if a.MaxBytes < 0 || a.MaxBytes >= least || c.History.MaxBytes == 0 {
		return
	}
	name := where + "history_max_bytes"
	key := name
	if a.MaxBytes == c.History.MaxBytes {
		// One cause is reported once, for the first app that shows it.
		key = "history.max_bytes"
	}
	p.at(key, "%s (or history.max_bytes) is %d, must be %d or more (1 MiB, and four times max_event_payload_in_kb), or -1 for no bound", name, a.MaxBytes, least)
}
