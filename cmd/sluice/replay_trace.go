package main

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/trace"
)

// recordReplay begins the span of a replay, to which all its requests belong, if the configuration has tracing;
// otherwise one that records nothing. stop sends the remaining spans.
func recordReplay(c *configs.Config, channel string) (span trace.Span, stop func()) {
	t := openTracing(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if t == nil {
		return unrecorded{}, func() {}
	}
	// Logs are discarded, because an unreachable trace receiver does not matter to the user of a replay.
	return t.Begin("replay", "sluice.channel", channel), func() { _ = t.close() }
}

// placed adds the trace context to requests, if there is one.
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
