package hub

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/stream"
	"github.com/sluicehq/sluice/gateway/timing"
)

// Metrics are the numbers of a hub. Labels are bounded: the channel label stands
// for at most MaxChannels names per app, all others share `_other`.
type Metrics struct {
	prefix, port string
	maxChannels  int

	connections  *prometheus.GaugeVec
	subscribed   *prometheus.GaugeVec
	streams      *prometheus.GaugeVec
	connectsAll  *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	subRefusals  *prometheus.CounterVec
	msgRefusals  *prometheus.CounterVec
	handshakes   *prometheus.CounterVec
	panics       prometheus.Counter
	badFrames    *prometheus.CounterVec
	gaps         *prometheus.CounterVec
	skips        prometheus.Counter
	full, deltas *prometheus.CounterVec
	original     *prometheus.CounterVec
	saved        *prometheus.CounterVec
	resyncs      *prometheus.CounterVec
	horizontal   *prometheus.CounterVec
	encoding     prometheus.Observer
	countFailed  *prometheus.CounterVec
	clientEvents *prometheus.CounterVec
	ephemeral    *prometheus.CounterVec
	limits       *prometheus.CounterVec
	diverged     prometheus.Counter
	resumes      *prometheus.CounterVec
	replays      *prometheus.CounterVec
	replayBytes  *prometheus.CounterVec
	recovering   prometheus.Observer
	delivery     *timing.Delivery
	// recoveryReads counts readings of the log for sockets that are behind, or were refused.
	recoveryReads prometheus.Counter

	mu       rank.Mutex[rank.HubMetrics]
	registry prometheus.Registerer
	observed map[*Hub]prometheus.Collector
	channels map[string]map[string]*channelMetrics
}

// channelMetrics are the counters of one label value.
type channelMetrics struct {
	full, deltas, original, saved, horizontal prometheus.Counter
}

const otherChannels = "_other"

// NewMetrics registers the metrics of hubs with a registry. prefix is put before
// every name, port is the label value of that name, and maxChannels bounds the
// channel label per app.
func NewMetrics(registry prometheus.Registerer, prefix, port string, maxChannels int) *Metrics {
	m := &Metrics{
		prefix: prefix, port: port, maxChannels: maxChannels, registry: registry,
		observed: map[*Hub]prometheus.Collector{}, channels: map[string]map[string]*channelMetrics{},
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	m.connections = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "connected", Help: "Connections that are open: WebSockets and event streams.",
	}, []string{"app_id", "port"})
	m.subscribed = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "subscriptions", Help: "Subscriptions of the connections that are open.",
	}, []string{"app_id", "port"})
	registry.MustRegister(m.subscribed)
	m.streams = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: prefix + "event_streams", Help: "Event streams that are open.",
	}, []string{"app_id", "port"})
	registry.MustRegister(m.connections, m.streams)
	m.connectsAll = counter("connections_total", "WebSockets and event streams that were accepted.", "app_id", "port")
	m.refusals = counter("connections_refused_total", "Connections that were refused, by reason and by the close code of a WebSocket, or the status of an event stream.", "code", "reason", "port")
	m.beginRefusals()
	m.subRefusals = counter("subscriptions_refused_total", "Subscriptions that were refused, by reason.", "app_id", "reason", "port")
	m.msgRefusals = counter("messages_refused_total", "Other messages of clients that were refused, by what they were.", "app_id", "message", "port")
	m.handshakes = counter("handshakes_refused_total", "Requests for a WebSocket that were no handshake, by reason.", "reason", "port")
	for _, reason := range slices.Concat(websocket.HandshakeReasons[:], handshakeReasons[:]) {
		m.handshakes.WithLabelValues(reason, port)
	}
	m.clientEvents = counter("client_events_total", "Client events that were stored, or sent if they were ephemeral.", "app_id", "port")
	m.ephemeral = counter("ephemeral_events_total", "Events that came for channels with subscribers here, and that no log has.", "app_id", "port")
	m.limits = counter("limits_total", "Requests of clients that a limit refused, by limit.", "app_id", "limit", "port")
	m.gaps = counter("gaps_total", "Times that publications of a channel were missing for good.", "reason", "port")
	m.panics = counter("connection_panics_total", "Connections that were ended by a panic while reading.", "port").WithLabelValues(port)
	m.badFrames = counter("frames_refused_total", "Frames of clients that broke the rules of WebSocket, by reason. Their connections were closed.", "reason", "port")
	for _, b := range websocket.BadFrames {
		m.badFrames.WithLabelValues(b.Reason, port)
	}
	m.skips = counter("publications_skipped_total", "Publications that could not be delivered to sockets.", "port").WithLabelValues(port)
	const delta = "delta_compression_"
	m.full = counter(delta+"full_messages_total", "Events that take part in delta compression and were sent in full, per recipient.", "app_id", "channel_name", "port")
	m.deltas = counter(delta+"delta_messages_total", "Events that were sent as deltas, per recipient.", "app_id", "channel_name", "port")
	m.original = counter(delta+"bandwidth_original_bytes", "Bytes that tracked events would have taken without deltas, per recipient.", "app_id", "channel_name", "port")
	m.saved = counter(delta+"bandwidth_saved_bytes", "Bytes of those that deltas have saved.", "app_id", "channel_name", "port")
	m.horizontal = counter("horizontal_"+delta+"enabled_total", "Tracked events that another gateway took in.", "app_id", "channel_name", "port")
	m.encoding = timing.Histogram(registry, prefix+delta+"encode_seconds", "Time to make one delta frame, which all sockets with the same base share.",
		[]string{"port"}, .5e-6, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2).WithLabelValues(port)
	const coordination = "delta_cluster_coordination_"
	m.countFailed = counter(coordination+"failures_total", "Times that the checkpoints by which gateways count full messages together could not be read or written.", "app_id", "port")
	m.diverged = counter(coordination+"divergences_total", "Checkpoints of the cluster that contradicted the count of full messages here.", "port").WithLabelValues(port)
	m.resumes = counter("resumes_total", "Channels that clients resumed, by how it ended and whether memory (hot) or the log (cold) had what they missed.", "app_id", "outcome", "source", "port")
	m.replays = counter("replayed_publications_total", "Publications of the past that were sent to sockets.", "app_id", "port")
	m.replayBytes = counter("replayed_bytes_total", "Bytes of the frames in which publications of the past were sent to sockets.", "app_id", "port")
	m.recoveryReads = counter("recovery_reads_total", "Pages of the log that were read for sockets that are behind, and looks at it for those who are refused.", "port").WithLabelValues(port)
	m.recovering = timing.Histogram(registry, prefix+"recovery_seconds", "Time from a resume to the moment at which all of its channels were live.",
		[]string{"port"}, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30).WithLabelValues(port)
	m.delivery = timing.NewDelivery(registry, prefix, port)
	m.resyncs = counter(delta+"resync_total", "Times that a client could not decode a delta and asked for full messages.", "app_id", "port")
	return m
}

// beginRefusals has what is counted of connections that are refused there from the start.
func (m *Metrics) beginRefusals() {
	for _, no := range connectionRefusals {
		m.refusals.WithLabelValues(strconv.Itoa(int(no.code)), no.reason, m.port)
	}
	for _, no := range stream.Refusals {
		m.refusals.WithLabelValues(strconv.Itoa(no.Status), no.Reason, m.port)
	}
}

// begin has what is counted of apps there from the start, at 0: a counter that appears with
// its first event cannot be told from one that has not moved.
func (m *Metrics) begin(apps []string) {
	for _, app := range apps {
		m.delivery.Begin(app)
		m.connections.WithLabelValues(app, m.port)
		m.subscribed.WithLabelValues(app, m.port)
		for _, c := range []*prometheus.CounterVec{m.connectsAll, m.clientEvents, m.ephemeral, m.countFailed, m.resyncs} {
			c.WithLabelValues(app, m.port)
		}
		for _, c := range []*prometheus.CounterVec{m.full, m.deltas, m.original, m.saved, m.horizontal} {
			c.WithLabelValues(app, otherChannels, m.port)
		}
		m.streams.WithLabelValues(app, m.port)
		for _, reason := range subscriptionRefusals {
			m.subRefusals.WithLabelValues(app, reason, m.port)
		}
		for _, what := range messageRefusals {
			m.msgRefusals.WithLabelValues(app, what, m.port)
		}
		for _, source := range [...]string{"hot", "cold"} {
			m.resumes.WithLabelValues(app, "recovered", source, m.port)
		}
		for _, code := range pusher.FailureCodes {
			m.resumes.WithLabelValues(app, string(code), "", m.port)
		}
		m.replays.WithLabelValues(app, m.port)
		m.replayBytes.WithLabelValues(app, m.port)
		for _, limit := range appLimits {
			m.limits.WithLabelValues(app, limit, m.port)
		}
	}
	for _, reason := range []broker.GapReason{broker.GapEvicted, broker.GapEpoch, broker.GapUnavailable} {
		m.gaps.WithLabelValues(string(reason), m.port)
	}
	for _, limit := range nodeLimits {
		m.limits.WithLabelValues("", limit, m.port)
	}
}

func (m *Metrics) connected(app string) {
	m.connections.WithLabelValues(app, m.port).Inc()
	m.connectsAll.WithLabelValues(app, m.port).Inc()
}

// subscriptions notes that some began or ended.
func (m *Metrics) subscriptions(app string, change int) {
	m.subscribed.WithLabelValues(app, m.port).Add(float64(change))
}
func (m *Metrics) disconnected(app string) { m.connections.WithLabelValues(app, m.port).Dec() }
func (m *Metrics) refused(no refusal) {
	m.refusals.WithLabelValues(strconv.Itoa(int(no.code)), no.reason, m.port).Inc()
}
func (m *Metrics) subscriptionRefused(app, reason string) {
	m.subRefusals.WithLabelValues(app, reason, m.port).Inc()
}
func (m *Metrics) messageRefused(app, what string) {
	m.msgRefusals.WithLabelValues(app, what, m.port).Inc()
}
func (m *Metrics) noHandshake(reason string) { m.handshakes.WithLabelValues(reason, m.port).Inc() }
func (m *Metrics) panicked()                 { m.panics.Inc() }
func (m *Metrics) badFrame(reason string)    { m.badFrames.WithLabelValues(reason, m.port).Inc() }
func (m *Metrics) skipped()                  { m.skips.Inc() }
func (m *Metrics) gap(reason string)         { m.gaps.WithLabelValues(reason, m.port).Inc() }
func (m *Metrics) encoded(d time.Duration)   { m.encoding.Observe(d.Seconds()) }
func (m *Metrics) countingFailed(app string) { m.countFailed.WithLabelValues(app, m.port).Inc() }
func (m *Metrics) countDiverged()            { m.diverged.Inc() }
func (m *Metrics) resumed(app, outcome, source string) {
	m.resumes.WithLabelValues(app, outcome, source, m.port).Inc()
}
func (m *Metrics) recovered(d time.Duration) { m.recovering.Observe(d.Seconds()) }
func (m *Metrics) replayed(app string, bytes int) {
	m.replays.WithLabelValues(app, m.port).Inc()
	m.replayBytes.WithLabelValues(app, m.port).Add(float64(bytes))
}
func (m *Metrics) resync(app string) { m.resyncs.WithLabelValues(app, m.port).Inc() }

// channel returns the counters for a channel.
func (m *Metrics) channel(app, channel string) *channelMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := m.channels[app]
	if names == nil {
		names = map[string]*channelMetrics{}
		m.channels[app] = names
	}
	if _, known := names[channel]; !known && len(names) >= m.maxChannels {
		channel = otherChannels
	}
	if names[channel] == nil {
		names[channel] = &channelMetrics{
			full:     m.full.WithLabelValues(app, channel, m.port),
			deltas:   m.deltas.WithLabelValues(app, channel, m.port),
			original: m.original.WithLabelValues(app, channel, m.port),
			saved:    m.saved.WithLabelValues(app, channel, m.port),

			horizontal: m.horizontal.WithLabelValues(app, channel, m.port),
		}
	}
	return names[channel]
}

// appLimits are the limits of an app, nodeLimits those that strangers meet. Others are
// counted as well, but are not there before they are crossed.
var (
	appLimits = [...]string{
		"answers", "authorization_timeout", "batch", "bodies", "body", "channel_name", "channels", "client_event_payload", "client_event_rate",
		"event_name", "events_per_second", "filter_bytes", "memory", "message_bytes", "message_rate", "message_size", "payload",
		"presence_member_size", "presence_members", "publishing", "reads_per_second", "subscription_rate", "subscriptions",
		"unknown_event", "watchlist",
	}
	nodeLimits = [...]string{"handshakes", "header_timeout", "proxy_protocol"}
)

// counters are those of the channel. It has them from its first event on, and not from its
// first subscriber, or anybody could use up the labels by subscribing to names that he makes
// up.
func (c *Channel) counters() *channelMetrics {
	m := c.metrics.Load()
	if m == nil {
		m = c.hub.opt.Metrics.channel(c.tenant.ID, c.Name)
		c.metrics.Store(m)
	}
	return m
}

// count adds what was sent of a publication.
func (c *Channel) count(t fanout.Tally) {
	m := c.counters()
	if t.Fulls > 0 {
		m.full.Add(float64(t.Fulls))
	}
	if t.Deltas > 0 {
		m.deltas.Add(float64(t.Deltas))
		m.saved.Add(float64(t.Saved))
	}
	m.original.Add(float64(t.Original))
}

// Limited notes that a limit of an app was crossed.
func (m *Metrics) Limited(app, limit string) { m.limits.WithLabelValues(app, limit, m.port).Inc() }
