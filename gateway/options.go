package gateway

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/process"
	"github.com/sluicehq/sluice/gateway/trace"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/kv"
)

// Options configure a [Node].
type Options struct {
	// Apps and Log are required. The node does not close the log.
	Apps *app.Registry
	Log  broker.Log
	// Table holds the cluster state: who is in which channel. Without it (nil) there are no presence channels
	// and no counts. Lease is how long a gateway without a renewal counts as alive, default 10 s.
	Table kv.Table
	Lease time.Duration
	// Presence has the bounds of what gateways write into the table; the node fills in the rest.
	Presence presence.Options
	// Work is the queue of webhooks; required if an app has any.
	Work broker.Work
	// Webhooks has the timeouts and pauses of delivery; the node fills in the rest.
	Webhooks webhook.Options
	// Name identifies this gateway among all gateways of the cluster, including earlier ones; default a
	// random one.
	Name string
	// Version is shown to operators, empty for none.
	Version string
	// Listen is the address for WebSockets and HTTP, "host:port". Port 0 means any free port.
	Listen string
	// TLS has the certificates of that listener; nil means no TLS. PlainListen is then the address that
	// redirects plain HTTP to https and answers certificate authorities; empty means none.
	TLS         Certificates
	PlainListen string
	// MetricsListen is the address for /metrics; empty means none. If MetricsToken is set, requests need it
	// as a bearer token. Without it, metrics on a loopback address are only for requests from this machine,
	// see Local, and metrics on other addresses are public.
	MetricsListen string
	MetricsToken  app.Secret
	// MetricsPrefix is the prefix of metric names, default `sockudo_`.
	MetricsPrefix string
	// MaxChannelLabels bounds the values of the channel label of metrics per app, default 1000.
	MaxChannelLabels int
	// Registry receives the metrics, default a new one. Package main adds the metrics of the log.
	Registry *prometheus.Registry
	// PathPrefix precedes every path, for example `/realtime`; empty means none.
	PathPrefix string
	// Unsigned accepts unsigned HTTP requests from this machine. It is for development only.
	Unsigned bool
	// Local refuses requests that pages of other sites make a browser on this machine send: those whose Host
	// is not this machine, or whose Origin is neither this machine nor allowed by the app. It is for
	// development. Hosts are further names of this machine.
	Local bool
	Hosts []string
	// Page serves `/`, `/console` and `/assets/`; nil means that there are no pages.
	Page http.Handler
	// Console is the console for operators; nil means that there is none.
	Console *ConsoleOptions
	// Tracer records requests of the HTTP API, what subscriptions are given of the past, and webhooks; nil
	// for no traces.
	Tracer trace.Tracer
	// Pprof is the address of the profiler, which must be a loopback address; empty means none.
	Pprof string
	// Hub holds the settings of connections; the node fills in what it has itself, such as Apps, Feed,
	// History, Node, Metrics and Logger.
	Hub hub.Options
	// HeaderTimeout bounds reading the header of a request, default 10 s. BodyTimeout bounds reading the
	// whole request, default 30 s; at most a third of it may pass without a byte of the body. AnswerTimeout
	// bounds how long a client may take to read an answer, default 10 s, plus a second for each 64 KiB.
	// IdleTimeout is how long a connection is kept for the next request, default 2 min.
	HeaderTimeout, BodyTimeout, AnswerTimeout, IdleTimeout time.Duration
	// MaxHandshakes bounds the connections of one address (for IPv6 of one /64 network) that have not sent
	// the header of a request yet, default 8192; negative means no bound. Behind a trusted proxy it applies
	// to the clients' addresses.
	MaxHandshakes int
	// HandshakeRate is the minimum number of WebSockets and event streams that are admitted per second,
	// default 1000; negative means no limit. More are admitted as long as live events are not late, at most
	// eight times as many; the others wait.
	HandshakeRate int
	// TrustedProxies are the networks whose hosts may name the client of a connection or request, IPv4 as
	// IPv4. ProxyHeader and ProxyProtocol say how they name it. Such headers of other peers are ignored.
	TrustedProxies []netip.Prefix
	ProxyHeader    ProxyHeader
	ProxyProtocol  ProxyProtocol
	// MaxBody bounds the body of a request in bytes, default 1 MiB. MaxBodies bounds the bodies of all
	// requests together, see [rest.Options].
	MaxBody, MaxBodies int64
	// PublishTimeout bounds how long a publish may wait for the log, default
	// 10 s.
	PublishTimeout time.Duration
	// MaxPublishing and MaxPublishingBytes bound the events that wait for the acknowledgement of the log,
	// default 16384 and 64 MiB. Further events are refused.
	MaxPublishing, MaxPublishingBytes int64
	// Settings returns the settings in force that should be equal on all gateways; nil means that nothing is
	// compared. It needs Table. It must return the same pointer until something changes.
	Settings func() *Settings
	// Pending lists the settings that were changed and take effect after a restart; may be nil. It must be
	// safe for concurrent use and must not wait.
	Pending func() []string
	// Descriptors and Memory decide when new clients are refused; nil means never.
	Descriptors *process.Descriptors
	Memory      *process.Memory
	// Notes returns further facts for operators that keep nothing from working; may be nil. It must be safe
	// for concurrent use and must not wait.
	Notes func() []string
	// Problems returns further reasons why this gateway is not ready; may be nil.
	Problems func() []string
	// ReadyDelay is how long a node that was asked to stop continues to serve while its readiness already
	// answers no, so that load balancers have time to notice. 0 means no delay.
	ReadyDelay time.Duration
	// Drain is how long connections have to leave after that, default 10 s.
	Drain time.Duration
	// Linger is the maximum time that the port stays open at a stop for WebSockets that come back, if no
	// other gateway is known to be alive; 0 for not at all.
	Linger time.Duration
	Logger *slog.Logger
}

func (o *Options) setDefaults() error {
	if o.Apps == nil || o.Log == nil {
		return errors.New("gateway: Apps and Log are required")
	}
	if o.Name == "" {
		o.Name = strconv.FormatUint(rand.Uint64(), 36)
	}
	if o.TLS == nil {
		o.PlainListen = ""
	}
	if o.MetricsPrefix == "" {
		o.MetricsPrefix = "sockudo_"
	}
	if o.MaxChannelLabels == 0 {
		o.MaxChannelLabels = 1000
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&o.HeaderTimeout, 10 * time.Second}, {&o.BodyTimeout, 30 * time.Second},
		{&o.AnswerTimeout, 10 * time.Second}, {&o.IdleTimeout, 2 * time.Minute},
		{&o.PublishTimeout, 10 * time.Second}, {&o.Drain, 10 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.MaxHandshakes == 0 {
		o.MaxHandshakes = 8192
	}
	if o.HandshakeRate == 0 {
		o.HandshakeRate = 1000
	}
	if o.MaxPublishing == 0 {
		o.MaxPublishing = 16384
	}
	if o.MaxPublishingBytes == 0 {
		o.MaxPublishingBytes = 64 << 20
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
