package configs

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Credentials of the app of development mode.
const (
	DemoID     = "app-id"
	DemoKey    = "app-key"
	DemoSecret = "app-secret"
)

// Config is a configuration that was checked.
type Config struct {
	Development bool
	// Web says whether the console page is served.
	Web             bool
	Host            string
	Port            int
	PathPrefix      string
	ActivityTimeout time.Duration
	// TrustedProxies are the networks of proxies. ProxyHeader is auto, x-forwarded-for,
	// forwarded or none, ProxyProtocol optional, required or off.
	TrustedProxies             []netip.Prefix
	ProxyHeader, ProxyProtocol string
	TLS                        TLS
	// AllowedHosts are names of this machine in development mode.
	AllowedHosts []string
	// AllowSamples lets secrets be those of the samples.
	AllowSamples bool

	Driver string
	// Durability is process, machine or replicated, or auto, which leaves it to the
	// settings of NATS.
	Durability string
	RedisURL   Secret
	// RedisURLFile is where it came from, empty if from elsewhere. It may change while the
	// process runs.
	RedisURLFile string
	Redis        Redis
	NATS         NATS
	History      History
	Delta        Delta
	Recovery     Recovery

	DeliverTags bool
	// Filters lets subscriptions have filters.
	Filters   bool
	WebSocket WebSocket
	HTTP      HTTP
	Metrics   Metrics
	Console   Console
	// Tracing says where traces go.
	Tracing Tracing
	// Pprof is the address of the profiler, empty for none.
	Pprof string
	// MemoryLimit is in bytes, DescriptorReserve a number; 0 leaves them to the system.
	MemoryLimit       int64
	DescriptorReserve int
	LogLevel          string
	Watch             Watch
	LogJSON           bool
	// ReadyDelay is how long a server that stops goes on before it drains.
	ReadyDelay, Drain time.Duration
	// AuthTimeout is for apps with RequireAuth, CacheTTL for cache channels, Lease
	// for gateways.
	AuthTimeout, CacheTTL, Lease time.Duration

	Apps []App
	// EncryptionKeys are those of the apps in the cluster, the present one first; nil if there
	// are no such apps.
	EncryptionKeys []Secret

	// values are all keys by name, for printing.
	values map[string]any
	// derived are the values of keys that were derived from the machine.
	derived map[string]int64
	notYet  []string
	passed  passed
}

// Watch says whether and how often the files of the configuration are looked at.
type Watch struct {
	Enabled  bool
	Interval time.Duration
}

// NATS says how to reach the servers, or how to embed one.
type NATS struct {
	// URLs is empty when a server is embedded.
	URLs                            []string
	CredentialsFile, NKeyFile, User string
	Password, Token                 Secret
	// PasswordFile and TokenFile are where they came from, empty if from elsewhere. They
	// may change while the process runs.
	PasswordFile, TokenFile     string
	CAFile, CertFile, KeyFile   string
	HandshakeFirst              bool
	Domain, Prefix, InboxPrefix string
	Replicas                    int
	StartTimeout                time.Duration
	Embedded                    Embedded
}

// Redis says how to reach the servers of the Redis log, beside RedisURL.
type Redis struct {
	Prefix                    string
	CAFile, CertFile, KeyFile string
	StartTimeout              time.Duration
}

// Embedded configures the NATS server in the process.
type Embedded struct {
	Host string
	// Port is -1 for any free one.
	Port         int
	StoreDir     string
	MaxStore     int64
	SyncInterval time.Duration
}

// History says what the log keeps. MaxMessages and MaxBytes are -1 for no bound.
type History struct {
	Enabled               bool
	MaxMessages, MaxBytes int64
	Retention             time.Duration
	MaxPage               int
	// Rewind lets subscriptions begin with a part of the past.
	Rewind bool
}

// Recovery says what clients get that were away.
type Recovery struct {
	Enabled bool
	// Age is how long events stay in memory, MaxEvents and MaxBytes how many a client may
	// have missed of a channel.
	Age                 time.Duration
	MaxEvents, MaxBytes int
	// TotalBytes is what is kept in memory of all channels, 0 for a share of the memory.
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
	// Coordinate the count of full messages in the cluster.
	Coordinate bool
	// MaxChannels per connection that hold bases.
	MaxChannels int
	// TotalBases is in bytes, 0 for a share of the memory.
	TotalBases int64
}

// WebSocket bounds connections. Sizes are bytes.
type WebSocket struct {
	MaxMessage, QueueFrames, QueueBytes, MaxSubscriptions, SendBuffer int
	SubscriptionRate, MessageRate, ChannelRate, MaxFilterBytes        int
	SlowTimeout                                                       time.Duration
	Compression                                                       bool
	// TotalQueueBytes and TotalMessageBytes are 0 for a share of the memory.
	TotalQueueBytes, TotalMessageBytes int64
}

// HTTP bounds requests.
type HTTP struct {
	HeaderTimeout, BodyTimeout, AnswerTimeout, IdleTimeout, PublishTimeout time.Duration
	// MaxBody is for one body, MaxBodies for all together.
	MaxBody, MaxBodies int64
	// MaxIdempotencyKey is in bytes.
	MaxIdempotencyKey int
	// MaxHandshakes and HandshakeRate are 0 for no bound.
	MaxHandshakes, HandshakeRate int
	// MaxPublishing and MaxPublishingBytes bound what waits for the log.
	MaxPublishing, MaxPublishingBytes int64
	// AtomicBatches is where requests with several events are stored as a whole: replicated,
	// always or never.
	AtomicBatches string
}

// Tracing says which traces are recorded, and where they are sent; Endpoint is empty for nowhere.
type Tracing struct {
	Endpoint    string
	SampleRatio float64 // from 0 to 1
	ServiceName string
}

// Console says where the console is. Port is -1 for nowhere of its own: it is on the main port
// then, in development mode.
type Console struct {
	Enabled bool
	Host    string
	Port    int
	// Token is needed to look at it, unless it is empty.
	Token Secret
}

// Metrics says where they are served. Port is -1 for nowhere.
type Metrics struct {
	Host             string
	Port             int
	Prefix           string
	MaxChannelLabels int
	// Token is needed to read them, unless it is empty.
	Token Secret
}

// App is one tenant. Sizes are bytes.
type App struct {
	ID, Key string
	Secret  Secret
	// SecretFile is the file that Secret came from, if any.
	SecretFile string
	// Earlier are credentials that count beside the present ones.
	Earlier []AppKey
	Enabled bool
	// Conflate is the policy for sockets that do not read fast enough;
	// otherwise they are closed.
	Conflate bool
	// ClientEvents with at most ClientEventRate per second and connection, 0
	// for no bound; UserAuth is sign-in.
	ClientEvents                                        bool
	Origins                                             []string
	ClientEventRate                                     int
	UserAuth, Watchlist, RequireAuth, SubscriptionCount bool
	MaxMembers, MaxMemberInfo, MaxEvents, MaxReads      int
	MaxConnections, MaxPayload, MaxChannels, MaxBatch   int
	MaxEventName, MaxChannelName                        int
	// Channels are the entries of channel_delta_compression in byte order of
	// their patterns, completed from the global settings.
	Channels []ChannelDelta
	Webhooks []Webhook

	// MaxMessages, MaxBytes, Retention and Replicas of the app's log, completed from
	// the global settings but for Replicas, where 0 is the global number.
	MaxMessages, MaxBytes int64
	Retention             time.Duration
	Replicas              int
	// Histories are the entries of channel_history in byte order of their patterns.
	Histories []ChannelHistory
	// Snapshots are the entries of channel_snapshot, likewise.
	Snapshots []ChannelSnapshot
}

// ChannelDelta is the setting of the channels that a pattern matches.
type ChannelDelta struct {
	Pattern     string
	Enabled     bool
	Algorithm   string
	Path        string
	MaxKeys     int
	DeliverTags bool
}

// check looks at what spans several keys.
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
	// Without the address, a number of copies and a durability that need it say the same.
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

// NotYet lists the keys that ask for features which this release accepts and does
// not have.
func (c *Config) NotYet() []string { return c.notYet }

// ServiceLinks names the environment variables that were passed over because Kubernetes
// makes them for a service.
func (c *Config) ServiceLinks() []string { return c.passed.links }

// ClientVariables names the environment variables that are for the commands which talk to
// a server.
func (c *Config) ClientVariables() []string { return c.passed.clients }

// Embeds says whether a NATS server runs in the process.
func (c *Config) Embeds() bool { return c.Driver == "nats" && len(c.NATS.URLs) == 0 }

// CheckBackend reports a chosen log of which it is not said where it is.
func (c *Config) CheckBackend() error {
	if strings.HasPrefix(c.Driver, "redis") && c.RedisURL == "" {
		return fmt.Errorf("adapter.driver is %q, but redis_url is not set", c.Driver)
	}
	return nil
}
