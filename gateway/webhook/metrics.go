package webhook

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/series"
)

// dropReasons are why events are dropped: the gateway stops, too many wait, an event is too large for the queue
// or cannot be decoded, or the receiver does not accept it.
var dropReasons = [...]string{"closed", "queue", "size", "unreadable", "retries"}

type metrics struct {
	apps                                      series.Apps
	emitted, sent, retries, dropped, withheld *series.Counters

	port string
}

func (m *metrics) open(h *Hooks) {
	registry, prefix := h.opt.Registry, h.opt.Prefix+"webhooks_"
	m.port = h.opt.Port
	counter := func(name, help string, labels ...string) *series.Counters {
		return m.apps.Counter(registry, prometheus.CounterOpts{Name: prefix + name, Help: help}, append([]string{"app_id"}, labels...)...)
	}
	m.emitted = counter("emitted_total", "Webhook events of this gateway, per address.", "port")
	m.sent = counter("sent_total", "Webhook events that were delivered.", "port")
	m.retries = counter("retries_total", "Webhook requests that failed and were tried again.", "port")
	m.dropped = counter("dropped_total", "Webhook events that were given up, by reason.", "reason", "port")
	m.withheld = counter("withheld_total", "Webhook events that were taken back within their grace.", "port")
	m.apps.Gauge(registry, prometheus.GaugeOpts{
		Name: prefix + "waiting", Help: "Webhook events of this gateway that are not stored yet.", ConstLabels: prometheus.Labels{"port": m.port},
	}, h.waiting)
}

// waiting returns how many events of each app are not stored yet.
func (h *Hooks) waiting() map[string]float64 {
	all := map[string]float64{}
	for id, endpoints := range *h.endpoints.Load() {
		all[id] = 0
		for _, e := range endpoints {
			all[id] += float64(e.out.len())
		}
	}
	return all
}

// begin creates the series of apps with an address at 0, and removes those of apps that no longer exist.
func (m *metrics) begin(apps *app.Registry, endpoints map[string][]*endpoint) {
	m.apps.Begin(apps)
	for id := range endpoints {
		for _, c := range []*series.Counters{m.emitted, m.sent, m.retries, m.withheld} {
			c.WithLabelValues(id, m.port)
		}
		for _, reason := range dropReasons {
			m.dropped.WithLabelValues(id, reason, m.port)
		}
	}
}
