package gateway

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/rest"
	"github.com/sluicehq/sluice/gateway/timing"
)

// httpMetrics count the requests of the HTTP API. Routes are a fixed set of
// patterns, never paths, so that their number is bounded.
type httpMetrics struct {
	requests  *prometheus.CounterVec
	published *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	refused   *prometheus.CounterVec
	// granted are the counters of what is granted, by app and route, and took those of
	// seconds by route. Looking them up by their labels takes longer than counting. They
	// are only read once they are made.
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
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "http_requests_total", Help: "Requests of the HTTP API.", ConstLabels: at,
		}, []string{"app_id", "route", "status"}),
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "http_events_published_total", Help: "Events stored for the HTTP API, per channel.", ConstLabels: at,
		}, []string{"app_id"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_refused_total", Help: "Requests of the HTTP API and for metrics that were not granted, by reason.", ConstLabels: at,
		}, []string{"app_id", "reason"}),
		seconds: timing.Histogram(prometheus.WrapRegistererWith(at, registry), prefix+"http_request_seconds", "Time to answer a request of the HTTP API.",
			[]string{"route"}, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5),
	}
	registry.MustRegister(m.requests, m.published, m.refused)
	for _, route := range rest.Routes() {
		m.took[route] = m.seconds.WithLabelValues(route)
	}
	return m
}

// begin has what is counted there from the start, at 0. It is for one goroutine at a time.
func (m *httpMetrics) begin(apps []string) {
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

// refuse counts one that was not granted.
func (m *httpMetrics) refuse(app, code string) { m.refused.WithLabelValues(app, code).Inc() }

// observe counts one request. app is empty when the request named no known app.
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
