package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/process"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server (this is what sluice does without a subcommand)",
		Long: `Run a server. Without --config it is a development server on this machine, with the
app app-id / app-key / app-secret and the console page. Every key of the configuration
has a flag; docs/configuration.md describes them.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			log, lines := newLog(cmd.ErrOrStderr(), c)
			defer lines.close()
			file, _ := cmd.Flags().GetString("config")
			return serve(cmd.Context(), c, log, lines, file, func() (*configs.Config, error) { return loadConfig(cmd) })
		},
	}
	configs.BindFlags(cmd.Flags())
	return cmd
}

// loadConfig loads the configuration of a command line.
func loadConfig(cmd *cobra.Command) (*configs.Config, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	return configs.Load(configs.Sources{File: file, Environ: os.Environ(), Flags: cmd.Flags()})
}

// serve runs a node until ctx is done. file is the path of the configuration, empty for none. again loads the
// configuration again, nil if there is nothing to load.
func serve(ctx context.Context, c *configs.Config, log *slog.Logger, lines *logQueue, file string, again func() (*configs.Config, error)) (err error) {
	// When the reader of the log has ended, the process must not die without a drain.
	signal.Ignore(syscall.SIGPIPE)
	defer bearHangups()()
	warn(c, log)
	if err := c.CheckSecrets(); err != nil {
		return err
	}
	limits := measure(c)
	if err := limits.check(); err != nil {
		return err
	}
	limits.tell(c, log)
	defer limits.memory.EaseCollector(process.LeastGarbage)()
	if err := checkPlaces(ctx, c); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	lines.register(registry, c.Metrics.Prefix)
	b, err := openBackend(ctx, c, limits.guests(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	shared, full, unfollow, err := joinCluster(ctx, c, b, log)
	if err != nil {
		return err
	}
	defer unfollow()
	opt := nodeOptions(full, b, log, registry)
	if t := openTracing(c, log, registry); t != nil {
		opt.Tracer = t
		defer func() { err = errors.Join(err, t.close()) }()
	}
	if err := secure(&opt, c); err != nil {
		return err
	}
	r := &reloader{backend: b, apps: opt.Apps, log: log, setLevel: lines.setLevel, cluster: shared, inForce: full, wanted: c}
	r.share()
	r.register(registry, c.Metrics.Prefix)
	opt.Pending, opt.Settings, opt.Notes = r.pending, r.shared.Load, r.problems
	opt.Descriptors, opt.Memory, opt.Problems = limits.descriptors, limits.memory, b.problems
	node, err := gateway.New(opt)
	if err != nil {
		return err
	}
	b.export(registry, node.Addr())
	log.Info("sluice is serving", "http", node.Addr(), "metrics", node.MetricsAddr(), "nats", b.natsURL,
		"data", whereabouts(c), "mode", c.Effective()["mode"], "version", versionText())
	durability := b.log.Health()
	log.Info("durability of acknowledged events", "level", durability.Level, "meaning", durability.Durability)
	tellDoors(c, node, log)
	hello(lines, c, fmt.Sprintf("%s: %s", durability.Level, durability.Durability), node.Addr(), b.natsURL, node.MetricsAddr())
	super := &supervisor{log: log, stopping: c.ReadyDelay + c.Drain + 10*time.Second, alive: node, prefix: c.PathPrefix}
	r.busy = super.reloading
	if again != nil {
		r.apply = node.Apply
		defer reloading(ctx, r, file, again)()
	}
	defer super.ready(node.Addr())()
	defer context.AfterFunc(ctx, super.leaving)()
	ctx, unguard := b.guard(ctx)
	defer unguard()
	err = node.Run(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	log.Info("sluice has stopped")
	return err
}

// bearHangups keeps SIGHUP from killing a server that is still waiting for its log, until stop is called. The
// configuration is read again as soon as the server serves.
func bearHangups() (stop func()) {
	early := make(chan os.Signal, 1)
	signal.Notify(early, syscall.SIGHUP)
	return func() { signal.Stop(early) }
}

// tellDoors logs the addresses of the pages.
func tellDoors(c *configs.Config, node *gateway.Node, log *slog.Logger) {
	if c.Web {
		log.Info("console page", "url", scheme(c)+node.Addr()+c.PathPrefix+"/")
	}
	if c.Console.Enabled {
		log.Info("console", "url", consoleURL(c, node), "token", c.Console.Token != "")
	}
	if c.Pprof != "" {
		log.Info("profiles", "url", "http://"+node.PprofAddr()+"/debug/pprof/")
	}
}

// warn logs what an operator should know at the start.
func warn(c *configs.Config, log *slog.Logger) {
	if c.Development {
		log.Warn("development mode: requests from this machine need no signature, and pages of other sites are refused; give a configuration file to leave it")
	}
	if names := c.SampleSecrets(); len(names) > 0 {
		log.Warn("secrets are those that are published with the samples: whoever has read them can do everything; choose others", "keys", strings.Join(names, " "))
	}
	warnOpen(c, log)
	if names := c.ServiceLinks(); len(names) > 0 {
		log.Info("variables that Kubernetes makes for a service are ignored", "variables", strings.Join(names, " "))
	}
	if names := c.ClientVariables(); len(names) > 0 {
		log.Info("variables are for the commands that talk to a server, and set nothing here", "variables", strings.Join(names, " "))
	}
	for _, key := range c.NotYet() {
		log.Warn("the configuration asks for a feature that this release does not have", "key", key)
	}
	if c.Driver == "local" {
		log.Warn("the log is the memory of this process: nothing is stored, and other gateways do not see it")
		if c.Delta.Coordinate {
			log.Warn("delta_compression.cluster_coordination has no effect: there is no cluster")
		}
	}
}

func nodeOptions(c *configs.Config, b *backend, log *slog.Logger, registry *prometheus.Registry) gateway.Options {
	opt := gateway.Options{
		Version: versionText(), Console: consoleOf(c, b), Pprof: c.Pprof,
		Apps: app.NewRegistry(appsOf(c)...), Log: b.log, Registry: registry, Logger: log,
		Listen:       net.JoinHostPort(c.Host, strconv.Itoa(c.Port)),
		MetricsToken: c.Metrics.Token, MetricsPrefix: c.Metrics.Prefix, MaxChannelLabels: c.Metrics.MaxChannelLabels,
		PathPrefix: c.PathPrefix, Unsigned: c.Development, Local: c.Development, Hosts: c.AllowedHosts,
		HeaderTimeout: c.HTTP.HeaderTimeout, BodyTimeout: c.HTTP.BodyTimeout, PublishTimeout: c.HTTP.PublishTimeout,
		AnswerTimeout: c.HTTP.AnswerTimeout, IdleTimeout: c.HTTP.IdleTimeout, MaxBody: c.HTTP.MaxBody, MaxBodies: c.HTTP.MaxBodies, ReadyDelay: c.ReadyDelay, Drain: c.Drain, Table: b.table, Lease: c.Lease, Work: b.work,
		MaxHandshakes: c.HTTP.MaxHandshakes, HandshakeRate: c.HTTP.HandshakeRate, MaxPublishing: c.HTTP.MaxPublishing, MaxPublishingBytes: c.HTTP.MaxPublishingBytes,
	}
	if opt.MaxHandshakes == 0 {
		opt.MaxHandshakes = -1
	}
	if opt.HandshakeRate == 0 {
		opt.HandshakeRate = -1
	}
	if opt.Drain == 0 {
		opt.Drain = time.Nanosecond // at once; 0 would mean the default
	}
	opt.Linger = time.Second
	registerBuild(registry, c.Metrics.Prefix)
	behind(&opt, c)
	opt.Hub.CacheTTL, opt.Presence.Sole = c.CacheTTL, c.Embeds()
	if c.Metrics.Port >= 0 {
		opt.MetricsListen = net.JoinHostPort(c.Metrics.Host, strconv.Itoa(c.Metrics.Port))
	}
	// Apps decide it, and may change it later.
	opt.Hub.DeltaEnabled = true
	opt.Hub.PerConnection, opt.Hub.Compression = perConnection(c), c.WebSocket.Compression
	opt.Hub.ActivityTimeout = c.ActivityTimeout
	opt.Hub.MaxMessage = c.WebSocket.MaxMessage
	opt.Hub.QueueFrames, opt.Hub.QueueBytes = c.WebSocket.QueueFrames, c.WebSocket.QueueBytes
	opt.Hub.SendBuffer = c.WebSocket.SendBuffer
	opt.Hub.TotalMessageBytes = c.WebSocket.TotalMessageBytes
	opt.Hub.TotalQueueBytes, opt.Hub.TotalBaseBytes = c.WebSocket.TotalQueueBytes, c.Delta.TotalBases
	opt.Hub.TotalRecentBytes = c.Recovery.TotalBytes
	opt.Hub.SlowAge = c.WebSocket.SlowTimeout
	if b.server == nil {
		// Attaching then takes mostly a round trip to the log.
		opt.Hub.Attaching = 32 * runtime.GOMAXPROCS(0)
	}
	opt.Hub.ChannelRate = c.WebSocket.ChannelRate
	if counting, ok := b.log.(broker.Counting); ok && counting.Counts() && c.Delta.Coordinate {
		opt.Log = count.InLog(counting, opt.Apps)
	}
	if b.counters != nil {
		opt.Hub.Counters = b.counters
	}
	if c.Web {
		opt.Page = pageOf(c, b)
	}
	return opt
}

// behind sets the trusted proxies of a node.
func behind(opt *gateway.Options, c *configs.Config) {
	opt.TrustedProxies = c.TrustedProxies
	switch c.ProxyHeader {
	case "x-forwarded-for":
		opt.ProxyHeader = gateway.XForwardedFor
	case "forwarded":
		opt.ProxyHeader = gateway.Forwarded
	case "none":
		opt.ProxyHeader = gateway.NoHeader
	}
	switch c.ProxyProtocol {
	case "required":
		opt.ProxyProtocol = gateway.ProxyRequired
	case "off":
		opt.ProxyProtocol = gateway.ProxyOff
	}
}

// versionText returns the version of this build.
func versionText() string { return build().Version }
