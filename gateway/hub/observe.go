package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/socket"
)

// observe exports the numbers that the shards keep themselves.
func (m *Metrics) observe(h *Hub) {
	c := &shardCollector{hub: h}
	for _, d := range []struct {
		name, help string
		kind       prometheus.ValueType
		read       func(s *fanout.Shard) float64
	}{
		{"frames_sent_total", "Frames handed to the kernel.", prometheus.CounterValue, func(s *fanout.Shard) float64 { return float64(s.Writer.Stats().Frames) }},
		{"socket_writes_total", "Writes that carried them; frames by writes is the coalescing.", prometheus.CounterValue, func(s *fanout.Shard) float64 { return float64(s.Writer.Stats().Writes) }},
		{"sockets_blocked_total", "Times that the kernel took no more of a socket's frames.", prometheus.CounterValue, func(s *fanout.Shard) float64 { return float64(s.Writer.Stats().Blocked) }},
		{"publications_conflated_total", "Publications that slow sockets skipped in favour of newer ones of the same conflation value, per recipient.", prometheus.CounterValue, func(s *fanout.Shard) float64 { return float64(s.Conflated.Load()) }},
		{"socket_queue_frames", "Frames that wait for sockets.", prometheus.GaugeValue, func(s *fanout.Shard) float64 { n, _ := s.Writer.Queued(); return float64(n) }},
		{"socket_queue_bytes", "Bytes that wait for sockets.", prometheus.GaugeValue, func(s *fanout.Shard) float64 { _, n := s.Writer.Queued(); return float64(n) }},
		{"messages_delivered_total", "Publications queued to sockets, per recipient.", prometheus.CounterValue, func(s *fanout.Shard) float64 { return float64(s.Delivered.Load()) }},
		{"shard_queue_ways", "Subscriptions that may go on through the past and wait for their turn.", prometheus.GaugeValue, func(s *fanout.Shard) float64 { return float64(s.Woken()) }},
		{"shard_queue_publications", "Publications that wait for the shards.", prometheus.GaugeValue, func(s *fanout.Shard) float64 { return float64(s.Waiting()) }},
	} {
		c.reads = append(c.reads, shardRead{prometheus.NewDesc(m.prefix+d.name, d.help, nil, prometheus.Labels{"port": m.port}), d.kind, d.read})
	}
	for _, d := range []struct {
		name, help string
		read       func() int64
	}{
		{"delta_bases", "Publications per channel and conflation value that deltas can start from.", h.hall.BaseKeys.Load},
		{"delta_bases_bytes", "Estimate of the memory of these and the few before each.", h.hall.BaseBytes.Load},
		{"subscriptions_behind", "Subscriptions that are sent the past of their channels, or wait for a resume.", h.hall.Catching.Load},
		{"recent_bytes", "What is kept of the past of all channels for those who come back, snapshots included.", h.library.Bytes.Load},
		{"snapshot_values", "Conflation values of all channels that have a snapshot.", h.library.Values.Load},
		{"filters_bytes", "Estimate of the memory of the filters of all subscriptions. Equal ones are kept once.", h.filters.Size},
		{"socket_message_bytes", "Room for messages of clients of which the beginning has come and the end has not.", h.inbox.Size},
		{"subscriptions_waiting", "Subscriptions that wait for their turn to attach a channel to the log.", h.gate.Size},
		{"socket_queue_held_bytes", "Bytes that the sockets which are behind hold together; what several wait for counts once.", h.hall.Sockets.Budget().Bytes},
	} {
		c.reads = append(c.reads, shardRead{
			prometheus.NewDesc(m.prefix+d.name, d.help, nil, prometheus.Labels{"port": m.port}), prometheus.GaugeValue,
			// The hub has one number for all shards.
			func(s *fanout.Shard) float64 {
				if s.ID > 0 {
					return 0
				}
				return float64(d.read())
			},
		})
	}
	for why := range socket.Reasons {
		c.reads = append(c.reads, shardRead{
			prometheus.NewDesc(m.prefix+"slow_sockets_closed_total", "Sockets that were closed because they did not read: their own queue was full, they took nothing for too long, or all that are behind held too much together.",
				nil, prometheus.Labels{"port": m.port, "reason": why.String()}),
			prometheus.CounterValue,
			func(s *fanout.Shard) float64 {
				if s.ID > 0 {
					return 0
				}
				return float64(h.hall.Sockets.Closed(why))
			},
		})
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

type shardRead struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*fanout.Shard) float64
}

type shardCollector struct {
	hub   *Hub
	reads []shardRead
}

func (c *shardCollector) Describe(to chan<- *prometheus.Desc) {
	for _, r := range c.reads {
		to <- r.desc
	}
}

func (c *shardCollector) Collect(to chan<- prometheus.Metric) {
	for _, r := range c.reads {
		sum := 0.0
		for _, s := range c.hub.hall.Shards {
			sum += r.read(s)
		}
		to <- prometheus.MustNewConstMetric(r.desc, r.kind, sum)
	}
}
