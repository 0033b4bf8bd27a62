package configs

import (
	"net/url"
	"strconv"
)

// buildTracing builds the configuration of traces.
func (c *Config) buildTracing(g getter, p *problems) {
	t := &c.Tracing
	t.Endpoint, t.ServiceName = g.text("tracing.endpoint"), g.text("tracing.service_name")
	ratio := g.text("tracing.sample_ratio")
	if n, err := strconv.ParseFloat(ratio, 64); err == nil && n >= 0 && n <= 1 {
		t.SampleRatio = n
	} else {
		p.at("tracing.sample_ratio", "tracing.sample_ratio is %q, must be a number from 0 to 1", shorten(ratio))
	}
	if t.ServiceName == "" || len(t.ServiceName) > 200 {
		p.at("tracing.service_name", "tracing.service_name has %d bytes, must have 1 to 200", len(t.ServiceName))
	}
	if t.Endpoint == "" {
		return
	}
	if u, err := url.Parse(t.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !reachable(u) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		p.at("tracing.endpoint", "tracing.endpoint must be an address such as http://127.0.0.1:4318/v1/traces, without a user and a query")
	}
}
