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
	// Table is where the gateways of a cluster keep who is in which channel, nil
	// for nowhere: then there are no presence channels and no counts. Lease is how
	// long a gateway that says nothing counts as alive, default 10 s.
	Table kv.Table
	Lease time.Duration
	// Presence has the bounds of what gateways leave in the table; the rest is filled
	// in by the node.
	Presence presence.Options
	// Work holds webhooks until they are delivered; required if an app has any.
	Work broker.Work
	// Webhooks has the times of their delivery; the rest is filled in by the node.
	Webhooks webhook.Options
	// Name tells this gateway from all others of the cluster, earlier ones
	// included; default a random one.
	Name string
	// Version is shown to operators, empty for none.
	Version string
	// Listen is the address for WebSockets and HTTP, "host:port". Port 0 takes
	// any free one.
	Listen string
	// TLS has the certificates of that listener; nil for none, and no TLS. PlainListen is then
	// the address where plain HTTP is sent to https and a certificate authority may ask; empty
	// means none.
	TLS         Certificates
	PlainListen string
	// MetricsListen is the address for /metrics; empty means none. With MetricsToken
	// it must be asked for as a bearer. Without, metrics on a loopback address are
	// for requests of this machine, see Local, and others are for everybody.
	MetricsListen string
	MetricsToken  app.Secret
	// MetricsPrefix is put before the names of metrics, default `sockudo_`.
	MetricsPrefix string
	// MaxChannelLabels bounds the channel label of metrics per app, default
	// 1000.
	MaxChannelLabels int
	// Registry receives the metrics, default a new one. Package main adds those
	// of the log.
	Registry *prometheus.Registry
	// PathPrefix precedes every path, for example `/realtime`; empty means none.
	PathPrefix string
	// Unsigned accepts unsigned HTTP requests from this machine. For
	// development only.
	Unsigned bool
	// Local refuses what pages of other sites make a browser of this machine send:
	// requests whose Host is not of this machine, or whose Origin is neither that nor
	// allowed by the app. For development. Hosts are further names of this machine.
	Local bool
	Hosts []string
	// Page answers requests for `/` and `/assets/`; nil means that there is no
	// console page.
	Page http.Handler
	// Console is the console for operators; nil means that there is none.
	Console *ConsoleOptions
	// Tracer records requests of the HTTP API, what subscriptions get of the past, and webhooks; nil
	// for nobody.
	Tracer trace.Tracer
	// Pprof is the address of the profiler, which must be a loopback one; empty means none.
	Pprof string
	// Hub holds the settings of connections; Apps, Feed, History, Node, Metrics
	// and Logger are filled in by the node.
	Hub hub.Options
	// HeaderTimeout bounds reading the header of a request, default 10 s.
	// BodyTimeout bounds the whole request, default 30 s; no more than a third of it may
	// pass without a byte of the body. AnswerTimeout bounds how long a client may take
	// for an answer, default 10 s, and a second more for each 64 KiB of it.
	// IdleTimeout is how long a connection is kept for the next request, default 2 min.
	HeaderTimeout, BodyTimeout, AnswerTimeout, IdleTimeout time.Duration
	// MaxHandshakes bounds the connections of one address (of IPv6 the network of 64
	// bits) that have not sent the header of a request yet, default 8192; negative
	// means no bound. Behind a trusted proxy it is for the clients' addresses.
	MaxHandshakes int
	// HandshakeRate is how many WebSockets and event streams a second are let in in any case,
	// default 1000; negative lets all in at once. More come in while nothing that is live is late
	// for that, eight times as many at most; the others wait.
	HandshakeRate int
	// TrustedProxies are the networks whose hosts are believed for whom they pass on
	// connections and requests, IPv4 as IPv4; ProxyHeader and ProxyProtocol say how
	// they tell it. What others claim is ignored.
	TrustedProxies []netip.Prefix
	ProxyHeader    ProxyHeader
	ProxyProtocol  ProxyProtocol
	// MaxBody bounds the body of a request in bytes, default 1 MiB, and MaxBodies those
	// of all requests together, see [rest.Options].
	MaxBody, MaxBodies int64
	// PublishTimeout bounds how long a publish may wait for the log, default
	// 10 s.
	PublishTimeout time.Duration
	// MaxPublishing and MaxPublishingBytes bound the events that wait for the
	// acknowledgement of the log, default 16384 and 64 MiB. More are refused.
	MaxPublishing, MaxPublishingBytes int64
	// Settings are what other gateways should have alike, as they are in force; nil for
	// nothing that is compared. Needs Table. It must return the same pointer as long as
	// nothing has changed.
	Settings func() *Settings
	// Pending names the settings that were changed and wait for a restart; nil if there is
	// nobody to ask. It is called by many goroutines and must not wait.
	Pending func() []string
	// Descriptors and Memory say when nobody new may come in; nil for never.
	Descriptors *process.Descriptors
	Memory      *process.Memory
	// Notes says what else an operator should know, which keeps nothing from working; nil for
	// nothing. It is called by many goroutines and must not wait.
	Notes func() []string
	// Problems says what else makes this gateway unready, nil for nothing.
	Problems func() []string
	// ReadyDelay is how long a node that is asked to stop goes on as ever, apart from
	// readiness, which says no from the start: whoever spreads connections has that time
	// to notice. 0 is no time.
	ReadyDelay time.Duration
	// Drain is how long connections have to leave at a stop after that, default 10 s.
	Drain time.Duration
	// Linger is how long at most the port stays open for WebSockets that come back at a stop, if no other gateway
	// is known to be alive; 0 for not at all.
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
