package configs

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
)

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

// settle sets the keys whose default depends on the mode, unless they have a value.
func settle(k *koanf.Koanf, development bool) {
	settled := map[string]any{}
	for i := range keys {
		key := &keys[i]
		if key.development == nil || k.Exists(key.name) {
			continue
		}
		def := key.def
		if development {
			def = key.development
		}
		settled[key.name] = def
	}
	_ = k.Load(flat(settled), nil) // this cannot fail for the values that keys have
}

// build makes the typed configuration and checks what involves several keys.
func build(k *koanf.Koanf, hasFile bool, p *problems) *Config {
	g := getter{k}
	c := &Config{values: map[string]any{}}
	c.Development = g.text("mode") == "development" || g.text("mode") == "" && !hasFile
	settle(k, c.Development)
	c.Web = g.text("web.enabled") == "true" || g.text("web.enabled") == "auto" && c.Development
	c.Host, c.Port, c.PathPrefix = g.text("host"), g.integer("port"), g.text("path_prefix")
	if c.Host = listenHost("host", c.Host, p); c.Host == "" {
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
	c.buildNATS(g, p)
	c.buildTLS(g)
	c.History = History{
		Enabled:     g.is("history.enabled"),
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
		Host: listenHost("metrics.host", g.text("metrics.host"), p), Port: g.integer("metrics.port"), Prefix: g.text("metrics.prefix"),
		MaxChannelLabels: g.integer("metrics.max_channel_labels"), Token: Secret(g.text("metrics.token")),
	}
	c.buildConsole(g, p)
	c.buildTracing(g, p)
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
	c.Watch = Watch{g.is("config.watch"), g.duration("config.watch_interval")}
	c.AuthTimeout, c.CacheTTL = g.seconds("user_authentication_timeout"), g.seconds("cache_ttl_seconds")
	c.Lease = g.duration("presence.lease")
	c.buildEncryption(g, p)
	c.Apps = buildApps(k.Get("apps"), c, p)
	c.remember(k)
	c.check(p)
	c.checkSizes(p)
	return c
}

func (c *Config) buildRecovery(g getter) {
	const recovery = "connection_recovery."
	c.Recovery = Recovery{
		Enabled: g.is(recovery + "enabled"), Age: g.seconds(recovery + "buffer_ttl_seconds"),
		MaxEvents: g.integer(recovery + "max_buffer_size"), MaxBytes: g.integer(recovery + "max_buffer_bytes"),
		TotalBytes: g.number(recovery + "max_total_bytes"),
	}
}

func (c *Config) buildNATS(g getter, p *problems) {
	urls, _ := g.k.Get("nats.url").([]string)
	c.NATS = NATS{
		URLs: urls, CredentialsFile: g.text("nats.credentials_file"), NKeyFile: g.text("nats.nkey_file"),
		User: g.text("nats.user"), Password: Secret(g.text("nats.password")), Token: Secret(g.text("nats.token")),
		PasswordFile: g.text("nats.password_file"), TokenFile: g.text("nats.token_file"),
		CAFile: g.text("nats.tls.ca_file"), CertFile: g.text("nats.tls.cert_file"), KeyFile: g.text("nats.tls.key_file"),
		HandshakeFirst: g.is("nats.tls.handshake_first"), Domain: g.text("nats.domain"), Prefix: g.text("nats.prefix"), InboxPrefix: g.text("nats.inbox_prefix"),
		Replicas: g.integer("nats.replicas"), StartTimeout: g.duration("nats.start_timeout"),
		Embedded: Embedded{
			Host: listenHost("nats.embedded.host", g.text("nats.embedded.host"), p), Port: g.integer("nats.embedded.port"), StoreDir: g.text("nats.embedded.store_dir"),
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
		MaxHandshakes: g.integer("http.max_handshakes_per_address"), HandshakeRate: g.integer("http.handshake_rate"),
		MaxPublishing: g.number("publishing.max_events"), MaxPublishingBytes: g.number("publishing.max_bytes"),
		AtomicBatches: g.text("publishing.atomic_batches"), MaxIdempotencyKey: g.integer("idempotency.max_key_length"),
	}
	if c.HTTP.MaxBodies == 0 {
		c.HTTP.MaxBodies = max(64<<20, 4*c.HTTP.MaxBody)
	}
}

// buildConsole puts the console of a development server on the main port, unless it has a token.
func (c *Config) buildConsole(g getter, p *problems) {
	wanted := g.text("console.enabled")
	c.Console = Console{
		Enabled: wanted == "true" || wanted == "auto" && c.Development && c.Web,
		Host:    listenHost("console.host", g.text("console.host"), p), Port: g.integer("console.port"), Token: Secret(g.text("console.token")),
	}
	if c.Development && c.Console.Token == "" {
		c.Console.Port = -1
	}
	c.Pprof = g.text("debug.pprof")
}

// remember keeps the values for printing, including derived ones.
func (c *Config) remember(k *koanf.Koanf) {
	for i := range keys {
		key := &keys[i]
		v := k.Get(key.name)
		if key.later != nil && key.later(v) {
			c.notYet = append(c.notYet, key.name)
			v = key.def // the value in force
		}
		c.values[key.name] = v
	}
	c.values["mode"] = "production"
	if c.Development {
		c.values["mode"] = "development"
	}
	c.values["host"], c.values["metrics.host"] = c.Host, c.Metrics.Host
	c.values["console.host"], c.values["nats.embedded.host"] = c.Console.Host, c.NATS.Embedded.Host
	c.values["web.enabled"] = strconv.FormatBool(c.Web)
	c.values["console.enabled"] = strconv.FormatBool(c.Console.Enabled)
	c.values["http.max_bodies"] = c.HTTP.MaxBodies
	c.values["nats.replicas"] = int64(c.NATS.Replicas)
	c.values["nats.embedded.store_dir"] = c.NATS.Embedded.StoreDir
	c.values["tls.acme.storage_dir"] = c.TLS.ACME.StorageDir
	c.values["shutdown.ready_delay_seconds"] = int64(c.ReadyDelay / time.Second)
	// A setting without an alternative is printed as it is, whatever was configured.
	c.values["delta_compression.omit_delta_algorithm"] = false
	sort.Strings(c.notYet)
}

// Derive sets the value that replaces a 0 and was derived from the machine, for printing. The configured value
// is kept for comparisons.
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

// dataDir returns the default directory of the embedded log.
func dataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sluice")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "sluice")
	}
	return "sluice-data"
}
