package configs

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
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
	// MemoryLimit is in bytes, DescriptorReserve a number; 0 leaves them to the system.
	MemoryLimit       int64
	DescriptorReserve int
	LogLevel          string
	LogJSON           bool
	// ReadyDelay is how long a server that stops goes on before it drains.
	ReadyDelay, Drain time.Duration
	// AuthTimeout is for apps with RequireAuth, CacheTTL for cache channels, Lease
	// for gateways.
	AuthTimeout, CacheTTL, Lease time.Duration

	Apps []App

	// values are all keys by name, for printing.
	values map[string]any
	// derived are the values of keys that were derived from the machine.
	derived map[string]int64
	notYet  []string
	passed  passed
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
	// MaxHandshakes is 0 for no bound.
	MaxHandshakes int
	// MaxPublishing and MaxPublishingBytes bound what waits for the log.
	MaxPublishing, MaxPublishingBytes int64
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
	Enabled    bool
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

// getter reads typed values of known keys.
type getter struct{ k *koanf.Koanf }

func (g getter) text(name string) string { s, _ := g.k.Get(name).(string); return s }
func (g getter) is(name string) bool     { b, _ := g.k.Get(name).(bool); return b }
func (g getter) number(name string) int64 {
	n, _ := g.k.Get(name).(int64)
	return n
}
func (g getter) integer(name string) int { return int(g.number(name)) }
func (g getter) duration(name string) time.Duration {
	d, _ := g.k.Get(name).(time.Duration)
	return d
}
func (g getter) seconds(name string) time.Duration {
	return time.Duration(g.number(name)) * time.Second
}

// build makes the typed configuration and checks what spans several keys.
func build(k *koanf.Koanf, hasFile bool, p *problems) *Config {
	g := getter{k}
	c := &Config{values: map[string]any{}}
	c.Development = g.text("mode") == "development" || g.text("mode") == "" && !hasFile
	c.Web = g.text("web.enabled") == "true" || g.text("web.enabled") == "auto" && c.Development
	c.Host, c.Port, c.PathPrefix = g.text("host"), g.integer("port"), g.text("path_prefix")
	if c.Host == "" {
		c.Host = "0.0.0.0"
		if c.Development {
			c.Host = "127.0.0.1"
		}
	}
	c.AllowedHosts, _ = k.Get("allowed_hosts").([]string)
	c.ProxyHeader, c.ProxyProtocol = g.text("proxy_header"), g.text("proxy_protocol")
	proxies, _ := k.Get("trusted_proxies").([]string)
	c.TrustedProxies = networks("trusted_proxies", proxies, p)
	c.ActivityTimeout, c.AllowSamples = g.seconds("activity_timeout"), g.is("allow_sample_secrets")
	c.Driver, c.RedisURL = g.text("adapter.driver"), Secret(g.text("redis_url"))
	c.RedisURLFile = g.text("redis_url_file")
	c.Durability = g.text("durability")
	c.Redis = Redis{
		Prefix: g.text("redis.prefix"), CAFile: g.text("redis.tls.ca_file"), CertFile: g.text("redis.tls.cert_file"),
		KeyFile: g.text("redis.tls.key_file"), StartTimeout: g.duration("redis.start_timeout"),
	}
	c.buildNATS(g)
	c.History = History{
		Enabled:     g.is("history.enabled") || c.Development,
		MaxMessages: g.number("history.max_messages"), MaxBytes: g.number("history.max_bytes"),
		Retention: g.seconds("history.retention_window_seconds"), MaxPage: g.integer("history.max_page_size"),
		Rewind: g.is("history.rewind_enabled"),
	}
	c.buildDelta(g, p)
	c.buildRecovery(g)
	c.DeliverTags, c.Filters = g.is("tag_filtering.enable_tags"), g.is("tag_filtering.enabled")
	c.buildWebSocket(g)
	c.buildHTTP(g)
	c.Metrics = Metrics{
		Host: g.text("metrics.host"), Port: g.integer("metrics.port"), Prefix: g.text("metrics.prefix"),
		MaxChannelLabels: g.integer("metrics.max_channel_labels"), Token: Secret(g.text("metrics.token")),
	}
	c.MemoryLimit, c.DescriptorReserve = g.number("memory.limit"), g.integer("descriptors.reserve")
	if c.Metrics.Host == "" {
		c.Metrics.Host = "127.0.0.1"
	}
	c.LogLevel, c.LogJSON, c.Drain = g.text("log.level"), g.text("log.format") == "json", g.seconds("shutdown.drain_seconds")
	if c.ReadyDelay = g.seconds("shutdown.ready_delay_seconds"); c.ReadyDelay < 0 {
		c.ReadyDelay = 5 * time.Second
		if c.Development {
			c.ReadyDelay = 0
		}
	}
	c.AuthTimeout, c.CacheTTL = g.seconds("user_authentication_timeout"), g.seconds("cache_ttl_seconds")
	c.Lease = g.duration("presence.lease").Truncate(time.Second)
	c.Apps = buildApps(k.Get("apps"), c, p)
	c.remember(k)
	c.check(p)
	return c
}

func (c *Config) buildRecovery(g getter) {
	const recovery = "connection_recovery."
	c.Recovery = Recovery{
		Enabled: g.is(recovery+"enabled") || c.Development, Age: g.seconds(recovery + "buffer_ttl_seconds"),
		MaxEvents: g.integer(recovery + "max_buffer_size"), MaxBytes: g.integer(recovery + "max_buffer_bytes"),
		TotalBytes: g.number(recovery + "max_total_bytes"),
	}
}

func (c *Config) buildNATS(g getter) {
	urls, _ := g.k.Get("nats.url").([]string)
	c.NATS = NATS{
		URLs: urls, CredentialsFile: g.text("nats.credentials_file"), NKeyFile: g.text("nats.nkey_file"),
		User: g.text("nats.user"), Password: Secret(g.text("nats.password")), Token: Secret(g.text("nats.token")),
		PasswordFile: g.text("nats.password_file"), TokenFile: g.text("nats.token_file"),
		CAFile: g.text("nats.tls.ca_file"), CertFile: g.text("nats.tls.cert_file"), KeyFile: g.text("nats.tls.key_file"),
		HandshakeFirst: g.is("nats.tls.handshake_first"), Domain: g.text("nats.domain"), Prefix: g.text("nats.prefix"), InboxPrefix: g.text("nats.inbox_prefix"),
		Replicas: g.integer("nats.replicas"), StartTimeout: g.duration("nats.start_timeout"),
		Embedded: Embedded{
			Host: g.text("nats.embedded.host"), Port: g.integer("nats.embedded.port"), StoreDir: g.text("nats.embedded.store_dir"),
			MaxStore: g.number("nats.embedded.max_store"), SyncInterval: g.duration("nats.embedded.sync_interval"),
		},
	}
	if c.Durability == "replicated" && c.NATS.Replicas == 1 {
		c.NATS.Replicas = 3
	}
	if c.NATS.Embedded.StoreDir == "" {
		c.NATS.Embedded.StoreDir = dataDir()
	}
}

func (c *Config) buildDelta(g getter, p *problems) {
	const delta = "delta_compression."
	c.Delta = Delta{
		Enabled: g.is(delta + "enabled"), Algorithm: algorithm(g.text(delta + "algorithm")),
		Interval: g.integer(delta + "full_message_interval"), MinSize: g.integer(delta + "min_message_size"),
		MaxAge: g.seconds(delta + "max_state_age_secs"), MaxKeys: g.integer(delta + "max_conflation_states_per_channel"),
		Path: g.text(delta + "conflation_key_path"), MaxChannels: g.integer(delta + "max_channel_states_per_socket"),
		Coordinate: g.is(delta + "cluster_coordination"), TotalBases: g.number(delta + "max_total_base_bytes"),
	}
	checkPath(delta+"conflation_key_path", c.Delta.Path, p)
}

func (c *Config) buildWebSocket(g getter) {
	c.WebSocket = WebSocket{
		MaxMessage: g.integer("websocket_max_payload_kb") << 10, QueueFrames: g.integer("websocket.queue_frames"),
		QueueBytes: g.integer("websocket.queue_bytes"), MaxSubscriptions: g.integer("websocket.max_subscriptions"),
		SlowTimeout: g.duration("websocket.slow_timeout"), Compression: g.is("websocket.compression"),
		SendBuffer: g.integer("websocket.send_buffer"), TotalQueueBytes: g.number("websocket.total_queue_bytes"),
		TotalMessageBytes: g.number("websocket.total_message_bytes"),
		MaxFilterBytes:    g.integer("tag_filtering.max_bytes_per_connection"),
		ChannelRate:       g.integer("websocket.channel_rate"),
		SubscriptionRate:  g.integer("websocket.subscription_rate"), MessageRate: g.integer("websocket.message_rate"),
	}
}

func (c *Config) buildHTTP(g getter) {
	c.HTTP = HTTP{
		HeaderTimeout: g.duration("http.header_timeout"), BodyTimeout: g.duration("http.body_timeout"),
		PublishTimeout: g.duration("http.publish_timeout"), AnswerTimeout: g.duration("http.answer_timeout"),
		IdleTimeout: g.duration("http.idle_timeout"),
		MaxBody:     g.number("http.max_body"), MaxBodies: g.number("http.max_bodies"),
		MaxHandshakes: g.integer("http.max_handshakes_per_address"),
		MaxPublishing: g.number("publishing.max_events"), MaxPublishingBytes: g.number("publishing.max_bytes"),
	}
	if c.HTTP.MaxBodies == 0 {
		c.HTTP.MaxBodies = max(64<<20, 4*c.HTTP.MaxBody)
	}
}

// remember keeps the values for printing, with what was derived.
func (c *Config) remember(k *koanf.Koanf) {
	for i := range keys {
		key := &keys[i]
		v := k.Get(key.name)
		if key.later != nil && key.later(v) {
			c.notYet = append(c.notYet, key.name)
			v = key.def // Which is in force.
		}
		c.values[key.name] = v
	}
	c.values["mode"] = "production"
	if c.Development {
		c.values["mode"] = "development"
	}
	c.values["host"], c.values["metrics.host"] = c.Host, c.Metrics.Host
	c.values["web.enabled"] = strconv.FormatBool(c.Web)
	c.values["history.enabled"] = c.History.Enabled
	c.values["connection_recovery.enabled"] = c.Recovery.Enabled
	c.values["http.max_bodies"] = c.HTTP.MaxBodies
	c.values["nats.replicas"] = int64(c.NATS.Replicas)
	c.values["nats.embedded.store_dir"] = c.NATS.Embedded.StoreDir
	c.values["presence.lease"] = c.Lease
	c.values["shutdown.ready_delay_seconds"] = int64(c.ReadyDelay / time.Second)
	// What cannot be chosen is printed as it is, whatever was asked for.
	c.values["idempotency.ttl_seconds"] = int64(120)
	c.values["delta_compression.omit_delta_algorithm"] = false
	sort.Strings(c.notYet)
}

// Derive puts what was derived from the machine in the place of a 0, for printing. What was
// asked for stays as it was, for being compared.
func (c *Config) Derive(name string, value int64) {
	if c.derived == nil {
		c.derived = map[string]int64{}
	}
	c.derived[name] = value
}

func algorithm(name string) string {
	if name == "vcdiff" {
		return "xdelta3"
	}
	return name
}

func checkPath(name, path string, p *problems) {
	if path == "" {
		return
	}
	if len(path) > 256 || strings.HasPrefix(path, ".") || strings.HasSuffix(path, ".") || strings.Contains(path, "..") ||
		strings.Count(path, ".") > 15 {
		p.at(name, "%s is %q, must be up to 16 names joined by dots, 256 bytes in all", name, shorten(path))
	}
}

// dataDir is where the log of an embedded server lies by default.
func dataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sluice")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "sluice")
	}
	return "sluice-data"
}

// check looks at what spans several keys.
func (c *Config) check(p *problems) {
	c.checkLimits(p)
	c.checkExposure(p)
	if c.Development && !loopback(c.Host) {
		p.at("host", "host is %q, but development mode takes unsigned requests and must stay on this machine; set mode: production and apps of your own", shorten(c.Host))
	}
	c.NATS.check(p)
	c.checkDurability(p)
	c.checkStore(p)
	if p.sound("redis.tls.cert_file", "redis.tls.key_file") && (c.Redis.CertFile == "") != (c.Redis.KeyFile == "") {
		p.add("redis.tls.cert_file and redis.tls.key_file must be given together")
	}
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
