package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/streams"
	"github.com/sluicehq/sluice/streams/embedded"
)

// backend is the log with everything that must be closed with it.
type backend struct {
	log     broker.Log
	natsURL string
	// counters is nil unless gateways count full messages together.
	counters *kv.Bucket
	// table is the table of cluster state.
	table kv.Table
	// work is the queue of webhooks.
	work broker.Work
	// retain changes the retention of the log, nil if that needs a restart.
	retain func(ctx context.Context, c *configs.Config) error
	// serveApps makes the log serve the apps of a configuration, nil if the log needs no change.
	serveApps func(ctx context.Context, c *configs.Config) error
	// longest are the maximum lengths of channel names by app.
	longest atomic.Pointer[map[string]int]
	server  *embedded.Server
	// numbers are the metrics of the log.
	numbers []prometheus.Collector
}

// export registers the metrics of the log, with the label port of the node.
func (b *backend) export(registry prometheus.Registerer, address string) {
	_, port, _ := net.SplitHostPort(address)
	prometheus.WrapRegistererWith(prometheus.Labels{"port": port}, registry).MustRegister(b.numbers...)
}

// problems returns the problems of the embedded server.
func (b *backend) problems() []string {
	if b.server == nil {
		return nil
	}
	return b.server.Problems()
}

// guard returns a context that ends when the log is broken for good, with the reason as its cause. The caller
// must call the returned function.
func (b *backend) guard(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if b.server == nil {
		return ctx, func() { cancel(nil) }
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case err := <-b.server.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

func (b *backend) close() error {
	err := b.log.Close()
	if b.server != nil {
		b.server.Shutdown()
	}
	return err
}

// openBackend opens the configured log. maxGuests bounds the external connections to an embedded server. There
// is no fallback: if the log cannot be opened, the start fails.
func openBackend(ctx context.Context, c *configs.Config, maxGuests int, log *slog.Logger) (*backend, error) {
	if err := c.CheckBackend(); err != nil {
		return nil, err
	}
	switch c.Driver {
	case "local":
		return openMemory(c)
	case "redis", "redis-cluster":
		return openRedis(ctx, c, log)
	}
	opt := streamOptions(c, log)
	b := &backend{}
	b.measure(c)
	opt.AppsFollow = hasCluster(c)
	opt.CheckChannel = func(app, channel string) error { return pusher.CheckChannel(channel, (*b.longest.Load())[app]) }
	if c.Embeds() {
		e := c.NATS.Embedded
		if e.Port == 0 {
			e.Port = -1 // any free port, as for every other port
		}
		server, err := embedded.Start(ctx, embedded.Options{
			Host: e.Host, Port: e.Port, StoreDir: e.StoreDir, MaxStore: e.MaxStore, SyncInterval: e.SyncInterval, Logger: log,
			SyncAlways: c.Durability == "machine", Prefix: c.NATS.Prefix,
			MaxPayload: mostData + 128<<10, MaxConnections: maxGuests, Keeps: []string{streams.TableSubject(c.NATS.Prefix, shelf.Records)}, Mark: sealMark(c),
		})
		if err != nil {
			return nil, err
		}
		if server.UncleanBoot() {
			log.Warn("the machine went down under the log; its last moments may be lost, so the log begins a new life")
		}
		b.server, b.natsURL = server, server.ClientURL()
		opt.ConnectOptions, opt.NewEpoch = server.ConnectOptions(), server.UncleanBoot()
	}
	err := b.openStreams(ctx, c, opt, log)
	if err != nil && b.server != nil && ctx.Err() == nil {
		err = mended(ctx, c, b, log, err, func() error { return b.openStreams(ctx, c, opt, log) })
	}
	if err != nil {
		if b.server != nil {
			b.server.Shutdown()
		}
		return nil, err
	}
	if b.server != nil {
		b.server.Recovered() // the new epoch has begun
	}
	l := b.log.(*streams.Log)
	b.numbers = append(upkeepOf(l.Upkeep, c.Metrics.Prefix), statsOf(l.Stats, c.Metrics.Prefix)...)
	b.numbers = append(b.numbers, aheadOf(l.Ahead, c.Metrics.Prefix)...)
	if b.natsURL == "" && len(opt.URLs) > 0 {
		b.natsURL = fmt.Sprintf("%d server(s)", len(opt.URLs))
	}
	return b, nil
}

// openStreams opens the log on NATS with its table and queues, all or nothing.
func (b *backend) openStreams(ctx context.Context, c *configs.Config, opt streams.Options, log *slog.Logger) error {
	l, err := streams.Open(ctx, opt)
	if err != nil {
		return err
	}
	if err := b.openBeside(ctx, c, l); err != nil {
		return errors.Join(err, l.Close())
	}
	b.log = l
	b.retain = func(ctx context.Context, c *configs.Config) error { return l.Retain(ctx, streamOptions(c, log).Apps) }
	b.serveApps = func(ctx context.Context, c *configs.Config) error {
		b.measure(c)
		opt := streamOptions(c, log)
		return l.Serve(ctx, opt.Apps, opt.MaxData, opt.Queues)
	}
	return nil
}

func (b *backend) openBeside(ctx context.Context, c *configs.Config, l *streams.Log) (err error) {
	if c.Delta.Coordinate {
		if b.counters, err = l.OpenCounters(ctx); err != nil {
			return fmt.Errorf("delta_compression.cluster_coordination: %w", err)
		}
	}
	if b.table, err = l.OpenTable(ctx); err != nil {
		return fmt.Errorf("table of cluster state: %w", err)
	}
	work := &lateWork{open: func(ctx context.Context) (broker.Work, error) { return l.OpenWork(ctx, rand.Text(), b.table) }}
	if hooked(c) {
		if _, err = work.get(ctx); err != nil {
			return fmt.Errorf("webhooks: %w", err)
		}
	}
	b.work = work
	return nil
}

func openMemory(c *configs.Config) (*backend, error) {
	opt := memory.Options{MaxMessages: int(c.History.MaxMessages), MaxAge: c.History.Retention}
	if c.History.MaxBytes > 0 {
		opt.MaxBytes = c.History.MaxBytes
	}
	for i := range c.Apps {
		opt.Apps = append(opt.Apps, c.Apps[i].ID)
	}
	l, err := memory.New(opt)
	if err != nil {
		return nil, err
	}
	// Gateways check each event that this log takes, so there is nothing to skip.
	skipped := skippedOf(func() uint64 { return 0 }, c.Metrics.Prefix)
	return &backend{log: l, numbers: []prometheus.Collector{skipped}, table: kv.NewMemoryTable(nil), work: memory.NewWork(), serveApps: func(_ context.Context, c *configs.Config) error {
		var errs []error
		for i := range c.Apps {
			errs = append(errs, l.AddApp(c.Apps[i].ID))
		}
		return errors.Join(errs...)
	}}, nil
}

// measure stores the maximum lengths of channel names.
func (b *backend) measure(c *configs.Config) {
	longest := map[string]int{}
	for i := range c.Apps {
		longest[c.Apps[i].ID] = c.Apps[i].MaxChannelName
	}
	b.longest.Store(&longest)
}

// proving returns the secrets of an app with which gateways authenticate messages to each other. The first one
// is used for new messages: it is the oldest valid secret, because gateways that do not know a new one yet must
// accept it. Expired secrets are for messages that are already in the log.
func proving(a *configs.App, now time.Time) []streams.Secret {
	out := []streams.Secret{a.Secret}
	for i := range a.Earlier {
		switch k := &a.Earlier[i]; {
		case slices.Contains(out, k.Secret):
		case k.Counts(now):
			out = append([]streams.Secret{k.Secret}, out...)
		default:
			out = append(out, k.Secret)
		}
	}
	return out
}

// mostData is the highest limit for the data of an event that an app can have, in bytes.
const mostData = 1 << 20

// hooked reports whether any app has webhooks.
func hooked(c *configs.Config) bool {
	for i := range c.Apps {
		if len(c.Apps[i].Webhooks) > 0 {
			return true
		}
	}
	return false
}

// atomicBatches maps the values of publishing.atomic_batches.
var atomicBatches = map[string]streams.AtomicBatches{
	"replicated": streams.AtomicReplicated, "always": streams.AtomicAlways, "never": streams.AtomicNever,
}

func streamOptions(c *configs.Config, log *slog.Logger) streams.Options {
	n := &c.NATS
	opt := streams.Options{
		Replicas: n.Replicas, Prefix: n.Prefix, URLs: n.URLs,
		CredentialsFile: n.CredentialsFile, NKeyFile: n.NKeyFile,
		User: n.User, Password: n.Password, Token: n.Token,
		PasswordSource: secretSource(n.PasswordFile), TokenSource: secretSource(n.TokenFile),
		CAFile: n.CAFile, CertFile: n.CertFile, KeyFile: n.KeyFile, HandshakeFirst: n.HandshakeFirst,
		Domain: n.Domain, InboxPrefix: n.InboxPrefix, StartTimeout: n.StartTimeout, PublishTimeout: c.HTTP.PublishTimeout, Logger: log,
		ReadAhead: historyBytes(c), MaxData: 64 << 10, Synchronous: c.Durability == "machine", Atomic: atomicBatches[c.HTTP.AtomicBatches],
	}
	for i := range c.Apps {
		a := &c.Apps[i]
		opt.MaxData = max(opt.MaxData, a.MaxPayload)
		opt.Queues += len(a.Webhooks)
		opt.Apps = append(opt.Apps, streams.AppOptions{
			ID: a.ID, Secrets: proving(a, time.Now()),
			MaxMessages: a.MaxMessages, MaxAge: a.Retention, MaxBytes: a.MaxBytes, Replicas: a.Replicas,
		})
	}
	return opt
}

// secretSource returns a function that reads a secret from its file, nil without a file.
func secretSource(file string) func() (streams.Secret, error) {
	if file == "" {
		return nil
	}
	return func() (streams.Secret, error) { return configs.ReadSecret(file) }
}

// logCollector exports the statistics of the log.
type logCollector struct {
	stats func() follow.Stats
	reads []logRead
}

type logRead struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(follow.Stats) float64
}

func newLogCollector(stats func() follow.Stats, prefix string) *logCollector {
	c := &logCollector{stats: stats}
	add := func(kind prometheus.ValueType, name, help string, read func(follow.Stats) float64) {
		c.reads = append(c.reads, logRead{prometheus.NewDesc(prefix+"log_"+name, help, nil, nil), kind, read})
	}
	counter := func(name, help string, read func(follow.Stats) uint64) {
		add(prometheus.CounterValue, name, help, func(s follow.Stats) float64 { return float64(read(s)) })
	}
	counter("published_total", "Events that the log acknowledged.", func(s follow.Stats) uint64 { return s.Published })
	counter("duplicates_total", "Events that the log acknowledged and had stored before.", func(s follow.Stats) uint64 { return s.Duplicates })
	counter("publish_retries_total", "Publishes that were sent again.", func(s follow.Stats) uint64 { return s.Retries })
	counter("publish_failures_total", "Publishes that were given up.", func(s follow.Stats) uint64 { return s.Failures })
	counter("live_total", "Messages of the live feed.", func(s follow.Stats) uint64 { return s.Live })
	counter("ephemeral_dropped_total", "Ephemeral events that came while too many live messages waited.", func(s follow.Stats) uint64 { return s.Unheard })
	counter("live_rejected_total", "Live messages that the log did not write.", func(s follow.Stats) uint64 { return s.Rejected })
	counter("unproven_total", "Times that a message was read which claims, without proof, what only gateways may say.", func(s follow.Stats) uint64 { return s.Unproven })
	counter("repairs_total", "Repairs of channels that were begun.", func(s follow.Stats) uint64 { return s.Repairs })
	counter("repaired_total", "Publications that repairs brought.", func(s follow.Stats) uint64 { return s.Repaired })
	counter("scans_total", "Comparisons of all channels with the log.", func(s follow.Stats) uint64 { return s.Scans })
	counter("slow_feed_total", "Times that the feed was too slow for its queue.", func(s follow.Stats) uint64 { return s.Slow })
	add(prometheus.GaugeValue, "channels_attached", "Channels that are followed.", func(s follow.Stats) float64 { return float64(s.Attached) })
	add(prometheus.GaugeValue, "feed_queue", "Messages of the live feed that wait to be handed to their channels.", func(s follow.Stats) float64 { return float64(s.Queued) })
	return c
}

func (c *logCollector) Describe(to chan<- *prometheus.Desc) {
	for _, r := range c.reads {
		to <- r.desc
	}
}

func (c *logCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	for _, r := range c.reads {
		to <- prometheus.MustNewConstMetric(r.desc, r.kind, r.read(s))
	}
}

// statsOf exports what a log counts.
func statsOf(stats func() follow.Stats, prefix string) []prometheus.Collector {
	return []prometheus.Collector{newLogCollector(stats, prefix), skippedOf(func() uint64 { return stats().Skipped }, prefix)}
}

// skippedOf exports how many publications cannot be delivered.
func skippedOf(skipped func() uint64, prefix string) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: prefix + "publications_skipped_total", Help: "Publications that cannot be delivered to sockets.",
	}, func() float64 { return float64(skipped()) })
}

// upkeepOf exports metrics of manual changes to the streams of the log.
func upkeepOf(upkeep func() streams.Upkeep, prefix string) (out []prometheus.Collector) {
	for _, c := range []struct {
		name, help string
		read       func(streams.Upkeep) uint64
	}{
		{"settings_mended_total", "Times that settings of a stream were put back.", func(u streams.Upkeep) uint64 { return u.Mended }},
		{"restored_total", "Acknowledged events that an edited stream had put elsewhere and that were stored again.", func(u streams.Upkeep) uint64 { return u.Restored }},
		{"misplaced_total", "Acknowledged events that are not in the log because somebody edited its stream.", func(u streams.Upkeep) uint64 { return u.Misplaced }},
		{"unnamed_total", "Raw events under names that are no channels.", func(u streams.Upkeep) uint64 { return u.Unnamed }},
	} {
		out = append(out, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "log_" + c.name, Help: c.help},
			func() float64 { return float64(c.read(upkeep())) }))
	}
	return out
}

// aheadOf exports metrics of data that is read ahead for clients that page through channels.
func aheadOf(ahead func() streams.Ahead, prefix string) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "log_read_ahead_events_total", Help: "Events of the past that were given out of what had been read ahead."},
			func() float64 { return float64(ahead().Given) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "log_read_ahead_bytes", Help: "What is kept of what was read ahead."},
			func() float64 { return float64(ahead().Bytes) }),
	}
}
