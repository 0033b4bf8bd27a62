package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/fanout"
)

// observe exports the numbers that the hub and its shards count themselves.
func (m *Metrics) observe(h *Hub) {
	c := &collector{}
	for _, n := range h.hall.Numbers() {
		c.add(m, n)
	}
	for _, d := range []struct {
		name, help string
		read       func() int64
	}{
		{"recent_bytes", "What is kept of the past of all channels for those who come back.", h.library.Bytes.Load},
		{"snapshot_bytes", "What the snapshots of all channels hold.", h.library.SnapshotBytes},
		{"snapshot_values", "Conflation values of all channels that have a snapshot.", h.library.Values.Load},
		{"filters_bytes", "Estimate of the memory of the filters of all subscriptions. Equal ones are kept once.", h.filters.Size},
		{"socket_message_bytes", "Room for messages of clients of which the beginning has come and the end has not.", h.inbox.Size},
		{"subscriptions_waiting", "Subscriptions that wait for their turn to attach a channel to the log.", h.gate.Size},
	} {
		c.add(m, fanout.Number{Name: d.name, Help: d.help, Read: func() float64 { return float64(d.read()) }})
	}
	m.mu.Lock()
	m.observed[h] = c
	m.mu.Unlock()
	m.registry.MustRegister(c)
}

func (m *Metrics) forget(h *Hub) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.observed[h]; c != nil {
		m.registry.Unregister(c)
		delete(m.observed, h)
	}
}

// collector exports numbers that are read at each scrape.
type collector []collected

type collected struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() float64
}

func (c *collector) add(m *Metrics, n fanout.Number) {
	kind, labels := prometheus.GaugeValue, prometheus.Labels{"port": m.port}
	if n.Counter {
		kind = prometheus.CounterValue
	}
	if n.Reason != "" {
		labels["reason"] = n.Reason
	}
	*c = append(*c, collected{prometheus.NewDesc(m.prefix+n.Name, n.Help, nil, labels), kind, n.Read})
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, r := range *c {
		to <- r.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	for _, r := range *c {
		to <- prometheus.MustNewConstMetric(r.desc, r.kind, r.read())
	}
}
