package webhook

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct{ emitted, sent, retries, dropped, withheld *prometheus.CounterVec }

func newMetrics(registry prometheus.Registerer, prefix string, h *Hooks) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "webhooks_" + name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "webhooks_waiting", Help: "Webhook events that are not stored yet.",
	}, func() float64 { return float64(h.waiting()) }))
	return metrics{
		emitted:  counter("emitted_total", "Webhook events of this gateway, per address.", "app_id", "port"),
		sent:     counter("sent_total", "Webhook events that were delivered.", "app_id", "port"),
		retries:  counter("retries_total", "Webhook requests that failed and were tried again.", "app_id", "port"),
		dropped:  counter("dropped_total", "Webhook events that were given up, by reason.", "app_id", "reason", "port"),
		withheld: counter("withheld_total", "Webhook events that were taken back within their grace.", "app_id", "port"),
	}
}

// shorten names a long id by its hash.
func shorten(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}
