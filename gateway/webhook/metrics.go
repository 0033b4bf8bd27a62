package webhook

import "github.com/prometheus/client_golang/prometheus"

// dropReasons are why events are given up: this gateway stops, too many wait, one is too
// large for the queue or cannot be read from it, or the receiver does not take it.
var dropReasons = [...]string{"closed", "queue", "size", "unreadable", "retries"}

type metrics struct {
	emitted, sent, retries, dropped, withheld *prometheus.CounterVec

	registry     prometheus.Registerer
	prefix, port string
	begun        map[string]bool // by app
}

func newMetrics(registry prometheus.Registerer, prefix, port string) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "webhooks_" + name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	return metrics{
		registry: registry, prefix: prefix, port: port, begun: map[string]bool{},
		emitted:  counter("emitted_total", "Webhook events of this gateway, per address.", "app_id", "port"),
		sent:     counter("sent_total", "Webhook events that were delivered.", "app_id", "port"),
		retries:  counter("retries_total", "Webhook requests that failed and were tried again.", "app_id", "port"),
		dropped:  counter("dropped_total", "Webhook events that were given up, by reason.", "app_id", "reason", "port"),
		withheld: counter("withheld_total", "Webhook events that were taken back within their grace.", "app_id", "port"),
	}
}

// begin has what is counted of apps there from the start, at 0.
func (m *metrics) begin(h *Hooks, endpoints map[string][]*endpoint) {
	for id := range endpoints {
		if m.begun[id] {
			continue
		}
		m.begun[id] = true
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: m.prefix + "webhooks_waiting", Help: "Webhook events of this gateway that are not stored yet.",
			ConstLabels: prometheus.Labels{"app_id": id, "port": m.port},
		}, func() float64 {
			n := 0
			for _, e := range h.of(id) {
				n += e.out.len()
			}
			return float64(n)
		}))
		for _, c := range []*prometheus.CounterVec{m.emitted, m.sent, m.retries, m.withheld} {
			c.WithLabelValues(id, m.port)
		}
		for _, reason := range dropReasons {
			m.dropped.WithLabelValues(id, reason, m.port)
		}
	}
}
