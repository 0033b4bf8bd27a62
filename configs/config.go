package configs

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// The credentials of the app of development mode.
const (
	DemoID     = "app-id"
	DemoKey    = "app-key"
	DemoSecret = "app-secret"
)

// Config is a checked configuration.
type Config struct {
	Development bool
	// Web is set if the page is served.
	Web             bool
	Host            string
	Port            int
	PathPrefix      string
	ActivityTimeout time.Duration
	// TrustedProxies are the networks of proxies. ProxyHeader is auto, x-forwarded-for, forwarded or none.
	// ProxyProtocol is optional, required or off.
	TrustedProxies             []netip.Prefix
	ProxyHeader, ProxyProtocol string
	TLS                        TLS
	// AllowedHosts are further names of this machine, for development mode and the console.
	AllowedHosts []string
	// AllowSamples allows the published secrets of the samples.
	AllowSamples bool

	Driver string
	// Durability is process, machine or replicated, or auto, which means the settings of NATS.
	Durability string
	RedisURL   Secret
	// RedisURLFile is the file of RedisURL, empty if that has another source. Its content may change while the
	// process runs.
	RedisURLFile string
	Redis        Redis
	NATS         NATS
	History      History
	Delta        Delta
	Recovery     Recovery

	DeliverTags bool
	// Filters enables filters of subscriptions.
	Filters   bool
	WebSocket WebSocket
	HTTP      HTTP
	Metrics   Metrics
	Console   Console
	// Tracing is the configuration of traces.
	Tracing Tracing
	// Pprof is the address of the profiler, empty for none.
	Pprof string
	// MemoryLimit is in bytes, and DescriptorReserve a number of descriptors; 0 means a value derived from the
	// system.
	MemoryLimit       int64
	DescriptorReserve int
	LogLevel          string
	Watch             Watch
	LogJSON           bool
	// ReadyDelay is how long a stopping server continues before it drains.
	ReadyDelay, Drain time.Duration
	// AuthTimeout is for apps with RequireAuth, CacheTTL for cache channels, and Lease for gateways.
	AuthTimeout, CacheTTL, Lease time.Duration

	Apps []App
	// EncryptionKeys are the encryption keys of apps in the cluster, the present one first; nil if there are no
	// such apps.
	EncryptionKeys []Secret

	// values are the values of all keys by name, for printing.
	values map[string]any
	// derived are values that were derived from the machine, by key.
	derived map[string]int64
	notYet  []string
	passed  passed
}

// Watch says whether and how often the files of the configuration are checked for changes.
type Watch struct {
	Enabled  bool
	Interval time.Duration
}

// NATS says how to reach NATS servers, or how to embed one.
type NATS struct {
	// URLs is empty if a server is embedded.
	URLs                            []string
	CredentialsFile, NKeyFile, User string
	Password, Token                 Secret
	// PasswordFile and TokenFile are the files of Password and Token, empty if these have another source. Their
	// content may change while the process runs.
	PasswordFile, TokenFile     string
	CAFile, CertFile, KeyFile   string
	HandshakeFirst              bool
	Domain, Prefix, InboxPrefix string
	Replicas                    int
	StartTimeout                time.Duration
	Embedded                    Embedded
}

// Redis says how to reach the Redis servers of RedisURL.
type Redis struct {
	Prefix                    string
	CAFile, CertFile, KeyFile string
	StartTimeout              time.Duration
}

// Embedded configures the NATS server in the process.
type Embedded struct {
	Host string
	// Port is -1 for any free port.
	Port         int
	StoreDir     string
	MaxStore     int64
	SyncInterval time.Duration
}

// History is the retention of the log. MaxMessages and MaxBytes are -1 for no limit.
type History struct {
	Enabled               bool
	MaxMessages, MaxBytes int64
	Retention             time.Duration
	MaxPage               int
	// Rewind allows subscriptions to begin with a part of the past.
	Rewind bool
}

// Recovery says what clients can recover after a reconnect.
type Recovery struct {
	Enabled bool
	// Age is how long events stay in memory. MaxEvents and MaxBytes bound what a client can have missed of a
	// channel.
	Age                 time.Duration
	MaxEvents, MaxBytes int
	// TotalBytes bounds the memory for all channels, 0 for a share of the memory.
	TotalBytes int64
}

// Delta holds the global settings of delta compression.
type Delta struct {
	Enabled   bool
	Algorithm string // fossil or xdelta3
	Interval  int
	MinSize   int
	MaxAge    time.Duration
	MaxKeys   int
	Path      string
	// Coordinate lets gateways count full messages together.
	Coordinate bool
	// MaxChannels bounds the channels of a connection that hold bases.
	MaxChannels int
	// TotalBases is in bytes, 0 for a share of the memory.
	TotalBases int64
}

// WebSocket has the limits of connections. Sizes are in bytes.
type WebSocket struct {
	MaxMessage, QueueFrames, QueueBytes, MaxSubscriptions, SendBuffer int
	SubscriptionRate, MessageRate, ChannelRate, MaxFilterBytes        int
	SlowTimeout                                                       time.Duration
	Compression                                                       bool
	// TotalQueueBytes and TotalMessageBytes are 0 for a share of the memory.
	TotalQueueBytes, TotalMessageBytes int64
}

// HTTP has the limits of requests.
type HTTP struct {
	HeaderTimeout, BodyTimeout, AnswerTimeout, IdleTimeout, PublishTimeout time.Duration
	// MaxBody bounds one body, and MaxBodies all bodies together, in bytes.
	MaxBody, MaxBodies int64
	// MaxIdempotencyKey is in bytes.
	MaxIdempotencyKey int
	// MaxHandshakes and HandshakeRate are 0 for no limit.
	MaxHandshakes, HandshakeRate int
	// MaxPublishing and MaxPublishingBytes bound the events that wait for the log.
	MaxPublishing, MaxPublishingBytes int64
	// AtomicBatches says where requests with several events are stored as a whole: replicated, always or never.
	AtomicBatches string
}

// Tracing says which traces are recorded, and where they are sent. Endpoint is empty for no traces.
type Tracing struct {
	Endpoint    string
	SampleRatio float64 // 0 to 1
	ServiceName string
}

// Console says where the console is served. Port is -1 for no listener of its own; it is then on the main port,
// in development mode.
type Console struct {
	Enabled bool
	Host    string
	Port    int
	// Token is required to log in, unless it is empty.
	Token Secret
}

// Metrics says where metrics are served. Port is -1 for nowhere.
type Metrics struct {
	Host             string
	Port             int
	Prefix           string
	MaxChannelLabels int
	// Token is required to read them, unless it is empty.
	Token Secret
}

// App is one tenant. Sizes are in bytes.
type App struct {
	ID, Key string
	Secret  Secret
	// SecretFile is the file of Secret, empty if that has another source.
	SecretFile string
	// Earlier are credentials that are accepted in addition to the present ones.
	Earlier []AppKey
	Enabled bool
	// Conflate is the policy for sockets that do not read fast enough; without it they are closed.
	Conflate bool
	// ClientEvents are limited to ClientEventRate per second and connection, 0 for no limit. UserAuth enables
	// sign-in.
	ClientEvents                                        bool
	Origins                                             []string
	ClientEventRate                                     int
	UserAuth, Watchlist, RequireAuth, SubscriptionCount bool
	MaxMembers, MaxMemberInfo, MaxEvents, MaxReads      int
	MaxConnections, MaxPayload, MaxChannels, MaxBatch   int
	MaxEventName, MaxChannelName                        int
	// Channels are the entries of channel_delta_compression in byte order of their patterns, completed from the
	// global settings.
	Channels []ChannelDelta
	Webhooks []Webhook

	// MaxMessages, MaxBytes, Retention and Replicas of the app's log are completed from the global settings,
	// except for Replicas, where 0 means the global number.
	MaxMessages, MaxBytes int64
	Retention             time.Duration
	Replicas              int
	// Histories are the entries of channel_history in byte order of their patterns.
	Histories []ChannelHistory
	// Snapshots are the entries of channel_snapshot, in the same order.
	Snapshots []ChannelSnapshot
}

// ChannelDelta is the delta compression of the channels that a pattern matches.
type ChannelDelta struct {
	Pattern     string
	Enabled     bool
	Algorithm   string
	Path        string
	MaxKeys     int
	DeliverTags bool
}

// check checks what involves several keys.
func (c *Config) check(p *problems) {
	c.checkLimits(p)
	c.checkExposure(p)
	c.checkClashes(p)
	c.checkConsole(p)
	if c.Development && !loopback(c.Host) {
		p.at("host", "host is %q, but development mode takes unsigned requests and must stay on this machine; set mode: production and apps of your own", shorten(c.Host))
	}
	if c.ProxyProtocol == "required" && len(c.TrustedProxies) == 0 && p.sound("trusted_proxies") {
		p.at("proxy_protocol", "proxy_protocol is required, but trusted_proxies is empty: nobody may send a header, and everybody may connect without one; list the proxies in trusted_proxies")
	}
	c.checkSecretKeys(p)
	c.NATS.check(p)
	c.TLS.check(p)
	c.checkDurability(p)
	c.checkStore(p)
	if p.sound("redis.tls.cert_file", "redis.tls.key_file") && (c.Redis.CertFile == "") != (c.Redis.KeyFile == "") {
		p.add("redis.tls.cert_file and redis.tls.key_file must be given together")
	}
	if c.RedisURL != "" && strings.HasPrefix(c.Driver, "redis") && p.sound("redis_url", "redis_url_file") {
		if why := redisURL(c.RedisURL.Reveal(), c.Driver == "redis-cluster"); why != "" {
			p.at("redis_url", "redis_url %s", why)
		}
	}
	checkFilled("redis_url", c.RedisURL.Reveal(), p)
	if strings.ContainsAny(c.Redis.Prefix, "{}") || len(c.Redis.Prefix) > 100 {
		p.at("redis.prefix", "redis.prefix is %q, must have no braces and up to 100 bytes", shorten(c.Redis.Prefix))
	}
	// If durability needs nats.url as well, the missing address is reported for durability only.
	if len(c.NATS.URLs) == 0 && c.NATS.Replicas > 1 && p.sound("nats.url", "durability") {
		p.at("nats.replicas", "nats.replicas is %d, but an embedded server keeps one copy; set nats.url to a cluster", c.NATS.Replicas)
	}
	if c.Delta.Coordinate && c.History.MaxMessages >= 0 && c.History.MaxMessages < 8 {
		p.at("history.max_messages", "history.max_messages is %d, but delta_compression.cluster_coordination needs 8 or more to count from", c.History.MaxMessages)
	}
	if c.Delta.Coordinate && c.History.Retention < 300*time.Second {
		p.at("history.retention_window_seconds", "history.retention_window_seconds is %d, but delta_compression.cluster_coordination needs 300 or more to count from", int(c.History.Retention/time.Second))
	}
	if c.NATS.Embedded.SyncInterval == 0 && c.Embeds() {
		p.at("nats.embedded.sync_interval", "nats.embedded.sync_interval is 0, must be more; durability: machine synchronises with every event")
	}
	if !loopback(c.NATS.Embedded.Host) && c.Embeds() && p.sound("nats.url") {
		p.at("nats.embedded.host", "nats.embedded.host is %q, but the embedded server lets in whoever reaches it and must stay on this machine; run a NATS server of your own and set nats.url", shorten(c.NATS.Embedded.Host))
	}
	if !loopback(c.Host) && !c.Development {
		for i := range c.Apps {
			if c.Apps[i].Secret == DemoSecret {
				p.at(fmt.Sprintf("apps[%d].secret", i), "apps[%d].secret is the published demo secret and host is %q; choose another secret or listen on 127.0.0.1", i, c.Host)
			}
		}
	}
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// NotYet returns the keys with values for features that this release accepts and does not have.
func (c *Config) NotYet() []string { return c.notYet }

// ServiceLinks returns the environment variables that were ignored because Kubernetes makes them for a service.
func (c *Config) ServiceLinks() []string { return c.passed.links }

// ClientVariables returns the environment variables that are for client commands.
func (c *Config) ClientVariables() []string { return c.passed.clients }

// Embeds reports whether a NATS server runs in the process.
func (c *Config) Embeds() bool { return c.Driver == "nats" && len(c.NATS.URLs) == 0 }

// CheckBackend returns an error if the address of the chosen log is missing.
func (c *Config) CheckBackend() error {
	if strings.HasPrefix(c.Driver, "redis") && c.RedisURL == "" {
		return fmt.Errorf("adapter.driver is %q, but redis_url is not set", c.Driver)
	}
	return nil
}
