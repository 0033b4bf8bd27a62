package webhook

import "github.com/prometheus/client_golang/prometheus"

// dropReasons are why events are given up: this gateway stops, too many wait, one is too
// large for the queue or cannot be read from it, or the receiver does not take it.
var dropReasons = [...]string{"closed", "queue", "size", "unreadable", "retries"}

type metrics struct{ emitted, sent, retries, dropped, withheld *prometheus.CounterVec }

func newMetrics(registry prometheus.Registerer, prefix, port string, endpoints map[string][]*endpoint) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "webhooks_" + name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	for id, all := range endpoints {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: prefix + "webhooks_waiting", Help: "Webhook events of this gateway that are not stored yet.",
			ConstLabels: prometheus.Labels{"app_id": id, "port": port},
		}, func() float64 {
			n := 0
			for _, e := range all {
				n += e.out.len()
			}
			return float64(n)
		}))
	}
	m := metrics{
		emitted:  counter("emitted_total", "Webhook events of this gateway, per address.", "app_id", "port"),
		sent:     counter("sent_total", "Webhook events that were delivered.", "app_id", "port"),
		retries:  counter("retries_total", "Webhook requests that failed and were tried again.", "app_id", "port"),
		dropped:  counter("dropped_total", "Webhook events that were given up, by reason.", "app_id", "reason", "port"),
		withheld: counter("withheld_total", "Webhook events that were taken back within their grace.", "app_id", "port"),
	}
	// Counters are there from the start, at 0.
	for id := range endpoints {
		for _, c := range []*prometheus.CounterVec{m.emitted, m.sent, m.retries, m.withheld} {
			c.WithLabelValues(id, port)
		}
		for _, reason := range dropReasons {
			m.dropped.WithLabelValues(id, reason, port)
		}
	}
	return m
}
