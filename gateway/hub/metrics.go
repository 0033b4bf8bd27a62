package hub

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/series"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/stream"
	"github.com/sluicehq/sluice/gateway/timing"
)

// Metrics are the metrics of a hub. Labels are bounded: the channel label has at most MaxChannels names per
// app, and all other channels share `_other`.
type Metrics struct {
	prefix, port string
	maxChannels  int

	apps         series.Apps
	connections  *series.Level
	subscribed   *series.Level
	streams      *series.Level
	connectsAll  *series.Counters
	refusals     *prometheus.CounterVec
	subRefusals  *series.Counters
	msgRefusals  *series.Counters
	handshakes   *prometheus.CounterVec
	panics       prometheus.Counter
	badFrames    *prometheus.CounterVec
	gaps         *prometheus.CounterVec
	full, deltas *series.Counters
	original     *series.Counters
	saved        *series.Counters
	resyncs      *series.Counters
	horizontal   *series.Counters
	encoding     prometheus.Observer
	countFailed  *series.Counters
	clientEvents *series.Counters
	ephemeral    *series.Counters
	limits       *series.Counters
	diverged     prometheus.Counter
	resumes      *series.Counters
	replays      *series.Counters
	replayBytes  *series.Counters
	recovering   prometheus.Observer
	delivery     *timing.Delivery
	// recoveryReads counts readings of the log for subscriptions that are behind or could not be resumed.
	recoveryReads prometheus.Counter

	mu       rank.Mutex[rank.HubMetrics]
	registry prometheus.Registerer
	observed map[*Hub]prometheus.Collector
	channels map[string]map[string]*channelMetrics
}

// channelMetrics are the counters of one value of the channel label.
type channelMetrics struct {
	full, deltas, original, saved, horizontal prometheus.Counter

	gone atomic.Bool
}

const otherChannels = "_other"

// NewMetrics registers the metrics of hubs with a registry. prefix precedes every name, port is the value of
// the label of that name, and maxChannels bounds the channel label per app.
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
	ofApps := func(name, help string, labels ...string) *series.Counters {
		return m.apps.Counter(registry, prometheus.CounterOpts{Name: prefix + name, Help: help}, append([]string{"app_id"}, labels...)...)
	}
	level := func(name, help string) *series.Level {
		return m.apps.Level(registry, prometheus.GaugeOpts{Name: prefix + name, Help: help, ConstLabels: prometheus.Labels{"port": port}})
	}
	m.connections = level("connected", "Connections that are open: WebSockets and event streams.")
	m.subscribed = level("subscriptions", "Subscriptions of the connections that are open.")
	m.streams = level("event_streams", "Event streams that are open.")
	m.connectsAll = ofApps("connections_total", "WebSockets and event streams that were accepted.", "port")
	m.refusals = counter("connections_refused_total", "Connections that were refused, by reason and by the close code of a WebSocket, or the status of an event stream.", "code", "reason", "port")
	m.beginRefusals()
	m.subRefusals = ofApps("subscriptions_refused_total", "Subscriptions that were refused, by reason.", "reason", "port")
	m.msgRefusals = ofApps("messages_refused_total", "Other messages of clients that were refused, by what they were.", "message", "port")
	m.handshakes = counter("handshakes_refused_total", "Requests for a WebSocket that were no handshake, by reason.", "reason", "port")
	for _, reason := range slices.Concat(websocket.HandshakeReasons[:], handshakeReasons[:]) {
		m.handshakes.WithLabelValues(reason, port)
	}
	m.clientEvents = ofApps("client_events_total", "Client events that were stored, or sent if they were ephemeral.", "port")
	m.ephemeral = ofApps("ephemeral_events_total", "Events that came for channels with subscribers here, and that no log has.", "port")
	m.limits = ofApps("limits_total", "Requests of clients that a limit refused, by limit.", "limit", "port")
	m.gaps = counter("gaps_total", "Times that publications of a channel were missing for good.", "reason", "port")
	m.panics = counter("connection_panics_total", "Connections that were ended by a panic while reading.", "port").WithLabelValues(port)
	m.badFrames = counter("frames_refused_total", "Frames of clients that broke the rules of WebSocket, by reason. Their connections were closed.", "reason", "port")
	for _, b := range websocket.BadFrames {
		m.badFrames.WithLabelValues(b.Reason, port)
	}
	const delta = "delta_compression_"
	m.full = ofApps(delta+"full_messages_total", "Events that take part in delta compression and were sent in full, per recipient.", "channel_name", "port")
	m.deltas = ofApps(delta+"delta_messages_total", "Events that were sent as deltas, per recipient.", "channel_name", "port")
	m.original = ofApps(delta+"bandwidth_original_bytes", "Bytes that tracked events would have taken without deltas, per recipient.", "channel_name", "port")
	m.saved = ofApps(delta+"bandwidth_saved_bytes", "Bytes of those that deltas have saved.", "channel_name", "port")
	m.horizontal = ofApps("horizontal_"+delta+"enabled_total", "Tracked events that another gateway took in.", "channel_name", "port")
	m.encoding = timing.Histogram(registry, prefix+delta+"encode_seconds", "Time to make one delta frame, which all sockets with the same base share.",
		[]string{"port"}, .5e-6, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2).WithLabelValues(port)
	const coordination = "delta_cluster_coordination_"
	m.countFailed = ofApps(coordination+"failures_total", "Times that the checkpoints by which gateways count full messages together could not be read or written.", "port")
	m.diverged = counter(coordination+"divergences_total", "Checkpoints of the cluster that contradicted the count of full messages here.", "port").WithLabelValues(port)
	m.resumes = ofApps("resumes_total", "Channels that clients resumed, by how it ended and whether memory (hot) or the log (cold) had what they missed.", "outcome", "source", "port")
	m.replays = ofApps("replayed_publications_total", "Publications of the past that were sent to sockets.", "port")
	m.replayBytes = ofApps("replayed_bytes_total", "Bytes of the frames in which publications of the past were sent to sockets.", "port")
	m.recoveryReads = counter("recovery_reads_total", "Pages of the log that were read for sockets that are behind, and looks at it for those who are refused.", "port").WithLabelValues(port)
	m.recovering = timing.Histogram(registry, prefix+"recovery_seconds", "Time from a resume that recovered a channel to the moment at which all of its channels were live.",
		[]string{"port"}, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30).WithLabelValues(port)
	m.delivery = timing.NewDelivery(&m.apps, registry, prefix, port)
	m.resyncs = ofApps(delta+"resync_total", "Times that a client could not decode a delta and asked for full messages.", "port")
	return m
}

// beginRefusals creates the counters of refused connections, so that they exist before the first refusal.
func (m *Metrics) beginRefusals() {
	for _, no := range connectionRefusals {
		m.refusals.WithLabelValues(strconv.Itoa(int(no.code)), no.reason, m.port)
	}
	for _, no := range stream.Refusals {
		m.refusals.WithLabelValues(strconv.Itoa(no.Status), no.Reason, m.port)
	}
}

// begin creates the counters of all apps at 0. A counter that appears only with its first event would hide
// that event, because a rate needs a value before it.
func (m *Metrics) begin(apps *app.Registry) {
	m.end(m.apps.Begin(apps))
	for _, app := range apps.IDs() {
		m.delivery.Begin(app)
		for _, c := range []*series.Counters{m.connectsAll, m.clientEvents, m.ephemeral, m.countFailed, m.resyncs} {
			c.WithLabelValues(app, m.port)
		}
		for _, c := range []*series.Counters{m.full, m.deltas, m.original, m.saved, m.horizontal} {
			c.WithLabelValues(app, otherChannels, m.port)
		}
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

// end forgets the channels of removed apps. It marks their counters as gone, for channels that still hold
// them.
func (m *Metrics) end(apps []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range apps {
		for _, c := range m.channels[id] {
			c.gone.Store(true)
		}
		delete(m.channels, id)
	}
}

func (m *Metrics) connected(app string) {
	m.connections.Add(app, 1)
	m.connectsAll.WithLabelValues(app, m.port).Inc()
}

// subscriptions adds a change of the number of subscriptions.
func (m *Metrics) subscriptions(app string, change int) {
	m.subscribed.Add(app, change)
}
func (m *Metrics) disconnected(app string) { m.connections.Add(app, -1) }
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

// channel returns the counters of a channel.
func (m *Metrics) channel(app, channel string) *channelMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := m.channels[app]
	if names == nil {
		names = map[string]*channelMetrics{}
		if m.apps.There(app) {
			m.channels[app] = names
		}
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
	names[channel].gone.Store(m.channels[app] == nil)
	return names[channel]
}

// appLimits are the limits of an app, nodeLimits those that apply before the app is known. Further limits are
// counted as well, but their counters do not exist before they are exceeded.
var (
	appLimits = [...]string{
		"answers", "authorization_timeout", "batch", "bodies", "body", "channel_name", "channels", "client_event_payload", "client_event_rate",
		"event_name", "events_per_second", "filter_bytes", "memory", "message_bytes", "message_rate", "message_size", "payload",
		"presence_member_size", "presence_members", "publishing", "reads_per_second", "subscription_rate", "subscriptions",
		"unknown_event", "watchlist",
	}
	nodeLimits = [...]string{"handshakes", "header_timeout", "no_tls", "not_http", "proxy_protocol"}
)

// counters returns the counters of the channel. They are created with the first event and not with the first
// subscriber, because anyone could use up the labels by subscribing to invented names.
func (c *Channel) counters() *channelMetrics {
	m := c.metrics.Load()
	if m == nil || m.gone.Load() {
		m = c.hub.opt.Metrics.channel(c.tenant.ID, c.Name)
		c.metrics.Store(m)
	}
	return m
}

// count adds the frames and bytes that were sent of a publication.
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

// Limited counts a request that exceeded a limit of an app.
func (m *Metrics) Limited(app, limit string) { m.limits.WithLabelValues(app, limit, m.port).Inc() }
