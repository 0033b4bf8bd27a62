package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/rest"
)

// httpMetrics count the requests of the HTTP API. Routes are a fixed set of
// patterns, never paths, so that their number is bounded.
type httpMetrics struct {
	requests  *prometheus.CounterVec
	published *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	refused   *prometheus.CounterVec
}

func newHTTPMetrics(registry prometheus.Registerer, prefix, port string, apps []string) httpMetrics {
	at := prometheus.Labels{"port": port}
	m := httpMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "http_requests_total", Help: "Requests of the HTTP API.", ConstLabels: at,
		}, []string{"app_id", "route", "status"}),
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "http_events_published_total", Help: "Events stored for the HTTP API, per channel.", ConstLabels: at,
		}, []string{"app_id"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_refused_total", Help: "Requests of the HTTP API and for metrics that were not granted, by reason.", ConstLabels: at,
		}, []string{"app_id", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "http_request_seconds", Help: "Time to answer.", ConstLabels: at,
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"route"}),
	}
	registry.MustRegister(m.requests, m.published, m.seconds, m.refused)
	// What is counted is there from the start, at 0.
	for _, route := range rest.Routes() {
		m.seconds.WithLabelValues(route)
		for _, app := range apps {
			m.requests.WithLabelValues(app, route, "200")
		}
	}
	for _, app := range apps {
		m.published.WithLabelValues(app)
	}
	for _, app := range append([]string{""}, apps...) {
		for _, code := range rest.Codes {
			m.refused.WithLabelValues(app, code)
		}
	}
	return m
}

// refuse counts one that was not granted.
func (m *httpMetrics) refuse(app, code string) { m.refused.WithLabelValues(app, code).Inc() }

// observe counts one request. app is empty when the request named no known app.
func (m *httpMetrics) observe(app, route string, status int, took time.Duration, events int) {
	m.requests.WithLabelValues(app, route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	if events > 0 {
		m.published.WithLabelValues(app).Add(float64(events))
	}
}
