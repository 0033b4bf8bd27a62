package main

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/trace"
)

// recordReplay begins the span of a replay, of which all its requests are parts, if the configuration
// says where traces go; one that records nothing otherwise. stop sends what is left.
func recordReplay(c *configs.Config, channel string) (span trace.Span, stop func()) {
	t := openTracing(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if t == nil {
		return unrecorded{}, func() {}
	}
	// Whoever replays is told of what matters; that a receiver of traces is away does not.
	return t.Begin("replay", "sluice.channel", channel), func() { _ = t.close() }
}

// placed puts the place in a trace into requests, if there is one.
type placed struct {
	to    http.RoundTripper
	place string
}

// RoundTrip implements [http.RoundTripper].
func (p placed) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.place != "" {
		r = r.Clone(r.Context())
		r.Header.Set(traceparent, p.place)
	}
	return p.to.RoundTrip(r)
}
