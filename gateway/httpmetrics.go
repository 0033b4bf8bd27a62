package gateway

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
	"github.com/sluicehq/sluice/gateway/series"
	"github.com/sluicehq/sluice/gateway/timing"
)

// httpMetrics counts the requests of the HTTP API. Route labels are a fixed set of patterns, never paths, so
// the number of series is bounded.
type httpMetrics struct {
	apps      series.Apps
	requests  *series.Counters
	published *series.Counters
	seconds   *prometheus.HistogramVec
	refused   *series.Counters
	// granted has the counters of successful requests by app and route, and took the histograms by route. A
	// lookup by labels takes longer than the counting itself. Both maps are only read once they are made.
	granted atomic.Pointer[map[asked]granted]
	took    map[string]prometheus.Observer
	// accepted counts the events of all apps.
	accepted *atomic.Uint64
}

type asked struct{ app, route string }

type granted struct{ requests, published prometheus.Counter }

func newHTTPMetrics(registry prometheus.Registerer, prefix, port string) *httpMetrics {
	at := prometheus.Labels{"port": port}
	m := &httpMetrics{
		took: map[string]prometheus.Observer{}, accepted: new(atomic.Uint64),
		seconds: timing.Histogram(prometheus.WrapRegistererWith(at, registry), prefix+"http_request_seconds", "Time to answer a request of the HTTP API.",
			[]string{"route"}, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5),
	}
	counter := func(name, help string, labels ...string) *series.Counters {
		return m.apps.Counter(registry, prometheus.CounterOpts{Name: prefix + name, Help: help, ConstLabels: at}, append([]string{"app_id"}, labels...)...)
	}
	m.requests = counter("http_requests_total", "Requests of the HTTP API.", "route", "status")
	m.published = counter("http_events_published_total", "Events stored for the HTTP API, per channel.")
	m.refused = counter("requests_refused_total", "Requests of the HTTP API, for metrics and for paths where there is nothing that were not granted, by reason.", "reason")
	for _, route := range rest.Routes() {
		m.took[route] = m.seconds.WithLabelValues(route)
	}
	return m
}

// begin creates the series of all apps at 0, and removes those of apps that no longer exist. It must not be
// called concurrently.
func (m *httpMetrics) begin(registry *app.Registry) {
	m.apps.Begin(registry)
	apps := registry.IDs()
	all := map[asked]granted{}
	for _, route := range rest.Routes() {
		for _, app := range apps {
			all[asked{app, route}] = granted{m.requests.WithLabelValues(app, route, "200"), m.published.WithLabelValues(app)}
		}
	}
	for _, app := range append([]string{""}, apps...) {
		for _, code := range rest.Codes {
			m.refused.WithLabelValues(app, code)
		}
	}
	m.granted.Store(&all)
}

// refuse counts a request that was not granted.
func (m *httpMetrics) refuse(app, code string) { m.refused.WithLabelValues(app, code).Inc() }

// observe counts one request. app is empty if the request named no known app.
func (m *httpMetrics) observe(app, route string, status int, took time.Duration, events int) {
	m.accepted.Add(uint64(events))
	if known, ok := (*m.granted.Load())[asked{app, route}]; ok && status == http.StatusOK {
		known.requests.Inc()
		if events > 0 {
			known.published.Add(float64(events))
		}
	} else {
		m.requests.WithLabelValues(app, route, strconv.Itoa(status)).Inc()
		if events > 0 {
			m.published.WithLabelValues(app).Add(float64(events))
		}
	}
	if known, ok := m.took[route]; ok {
		known.Observe(took.Seconds())
		return
	}
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}
