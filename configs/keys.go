package configs

import "strings"

type kind uint8

const (
	boolean kind = iota
	integer
	text
	choice
	duration // Go notation, or a number of seconds
	texts    // a list, or one text with commas
	secret
	address // a URL whose password is secret
	tree    // structured; checked by code of its own
	file    // path of a file that holds a secret
)

// key describes one key of the configuration.
type key struct {
	name string
	kind kind
	def  any
	// development is the default in development mode, nil if it is the same in every mode.
	development any
	// min and max bound integers, and durations in seconds; max 0 means no limit.
	min, max int64
	choices  []string
	unit     string
	// coarse durations are whole seconds, because their users count in seconds.
	coarse bool
	// later is for features that this release accepts and does not have; it reports whether a value requests
	// one.
	later func(v any) bool
	text  string
}

func isFalse(v any) bool { return v == false }

// keys is the table of keys. The reference has its sections in this order.
var keys = withFiles([]key{
	{name: "mode", kind: choice, def: "", choices: []string{"development", "production"}, text: "Development binds to this machine, has the app `app-id` / `app-key` / `app-secret`, accepts unsigned requests from this machine, and shows the console page. Default: development without a configuration file, production with one."},
	{name: "host", kind: text, def: "", text: "Address to listen on. Default 127.0.0.1 in development mode, 0.0.0.0 in production."},
	{name: "port", kind: integer, def: int64(6001), min: 0, max: 65535, text: "Port for WebSockets and HTTP; 0 takes any free one. Also as `PORT`."},
	{name: "path_prefix", kind: text, def: "", text: "Precedes every path, for example `/realtime`; up to 200 bytes."},
	{name: "allowed_hosts", kind: texts, def: []string{}, text: "Host names by which a server in development mode may be reached, in addition to `localhost` and loopback addresses: for example that of a tunnel, without a port. Requests with another `Host`, and those of pages of other sites, are refused, so that a page that you visit cannot use your server. The same applies to metrics on a loopback address without a token, and to the console."},
	{name: "trusted_proxies", kind: texts, def: []string{}, text: "Addresses and networks (`10.0.0.0/8`) of the proxies that are trusted to name the client whose connections and requests they forward; limits then use the address of that client. Statements of others are ignored. List only proxies that write the header themselves, see docs/proxies.md."},
	{name: "proxy_header", kind: choice, def: "auto", choices: []string{"auto", "x-forwarded-for", "forwarded", "none"}, text: "Header in which trusted proxies name the client, read from its end to the first address that is not a trusted proxy. `auto`: whichever is present; if both are and they differ, neither is trusted, and all such requests count as one client."},
	{name: "proxy_protocol", kind: choice, def: "optional", choices: []string{"optional", "required", "off"}, text: "PROXY protocol (v1 and v2) on connections of trusted proxies. `optional`: a header is accepted if there is one. `required`: connections without one are closed. `off`: none is accepted. A header from anybody else is refused."},
	{name: "web.enabled", kind: choice, def: "auto", choices: []string{"auto", "true", "false"}, text: "The console page at `/`. `auto`: in development mode only."},
	{name: "allow_sample_secrets", kind: boolean, def: false, text: "Allow secrets of the samples (`change-this-...`) in production mode. Otherwise the start is refused, unless `host` is this machine. For experiments only: these secrets are public."},
	{name: "activity_timeout", kind: integer, def: int64(120), min: 1, max: 3600, unit: "s", text: "Silence after which the server pings a client."},

	{name: "tls.cert_file", kind: text, def: "", text: "PEM file with the certificate for WebSockets and HTTP, followed by the intermediate certificates. With it the port speaks only TLS: `wss://` and `https://`, with HTTP/2 for clients that support it. Read again when it changes and at SIGHUP; if the new pair is not usable, the earlier one stays in use, and `/ready` says so. Also as `SSL_CERT_PATH`."},
	{name: "tls.key_file", kind: text, def: "", text: "PEM file with the private key of the certificate. Also as `SSL_KEY_PATH`."},
	{name: "tls.min_version", kind: choice, def: "1.2", choices: []string{"1.2", "1.3"}, text: "Minimum version of TLS."},
	{name: "tls.http_port", kind: integer, def: int64(-1), min: -1, max: 65535, text: "Additional port for plain HTTP, usually 80: it redirects browsers to `https://` and answers http-01 challenges. 0 takes any free one, -1 is none."},
	{name: "tls.acme.domains", kind: texts, def: []string{}, text: "Domain names for which certificates are issued and renewed by ACME. By listing one you agree to the terms of the certificate authority. The authority must be able to reach `port` as 443 (tls-alpn-01), or `tls.http_port` as 80 (http-01). Not with `tls.cert_file`."},
	{name: "tls.acme.email", kind: text, def: "", text: "Email address to which the authority writes about problems."},
	{name: "tls.acme.directory_url", kind: text, def: "", text: "ACME directory URL of the authority, `https://`. Default: Let's Encrypt."},
	{name: "tls.acme.storage_dir", kind: text, def: "", text: "Directory for the account, certificates and keys. It must outlive the process, and gateways may share it. Default: `acme` in the data directory of the user."},
	{name: "tls.acme.ca_file", kind: text, def: "", text: "PEM file with the CA certificates to trust when connecting to your own authority."},
	{name: "config.watch", kind: boolean, def: true, text: "Watch the configuration file, and the files with secrets that it names, and read them again when they change, as SIGHUP does. A file with errors changes nothing."},
	{name: "config.watch_interval", kind: duration, def: "2s", min: 1, max: 3600, text: "How often the files are checked. A changed file is read when two checks in a row found the same content."},

	{name: "adapter.driver", kind: choice, def: "nats", choices: []string{"local", "nats", "redis", "redis-cluster"}, text: "Where the log lives. `nats`: JetStream, embedded unless `nats.url` is set. `local`: the memory of this process; nothing is stored. `redis` and `redis-cluster`: Redis streams at `redis_url`, with weaker promises (docs/operations.md, \"Redis\"). There is no fallback: if it is not available, the start fails. Also as `ADAPTER_DRIVER`."},
	{name: "durability", kind: choice, def: "auto", choices: []string{"auto", "process", "machine", "replicated"}, text: "What an acknowledged event must survive in the log on NATS. `process`: killed processes, with an embedded or a single server. `machine`: a crash of the machine as well; the embedded server synchronises its disk for every event, so each publish waits for the disk. `replicated`: the loss of a server with its disk; needs three copies on a cluster (`nats.url`, `nats.replicas` of 3 or more). `auto`: the level that follows from `nats.url` and `nats.replicas`. The level in force is logged at the start and is in `/ready`. If other settings contradict the level, the start fails."},
	{name: "redis_url", kind: address, def: "", text: "Server of the Redis log, `redis://` or `rediss://` with user, password and database number. Further servers of a cluster: `?addr=host:port&addr=host:port`. Not used by other drivers. Also as `REDIS_URL`."},
	{name: "redis.prefix", kind: text, def: "sluice:", text: "Prefix of all keys and channels in Redis, so that installations can share a server; no braces, up to 100 bytes."},
	{name: "redis.tls.ca_file", kind: text, def: "", text: "PEM file with the certificates to trust."},
	{name: "redis.tls.cert_file", kind: text, def: "", text: "PEM file with the client certificate."},
	{name: "redis.tls.key_file", kind: text, def: "", text: "PEM file with its key."},
	{name: "redis.start_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long the start waits for Redis."},
	{name: "nats.url", kind: texts, def: []string{}, text: "Servers of a NATS cluster, `nats://`, `tls://`, `ws://` or `wss://`. The start needs only one that answers. If set, no server is embedded."},
	{name: "nats.credentials_file", kind: text, def: "", text: "Credentials file (JWT and seed). At most one of this key, `nats.nkey_file`, `nats.user` and `nats.token` may be set."},
	{name: "nats.nkey_file", kind: text, def: "", text: "File with an nkey seed."},
	{name: "nats.user", kind: text, def: "", text: "User name."},
	{name: "nats.password", kind: secret, def: "", text: "Password of the user."},
	{name: "nats.token", kind: secret, def: "", text: "Token."},
	{name: "nats.tls.ca_file", kind: text, def: "", text: "PEM file with the certificates to trust."},
	{name: "nats.tls.cert_file", kind: text, def: "", text: "PEM file with the client certificate."},
	{name: "nats.tls.key_file", kind: text, def: "", text: "PEM file with its key."},
	{name: "nats.tls.handshake_first", kind: boolean, def: false, text: "Begin with the TLS handshake."},
	{name: "nats.domain", kind: text, def: "", text: "JetStream domain, 1 to 64 of `A-Z a-z 0-9 _ -`."},
	{name: "nats.inbox_prefix", kind: text, def: "_INBOX", text: "Prefix of the subjects on which NATS answers, up to 100 bytes, so that users cannot see each other's answers; see the permissions in docs/operations.md."},
	{name: "nats.prefix", kind: text, def: "", text: "Prefix of all subjects, streams and buckets, so that two installations can share a cluster. 1 to 39 of `a-z 0-9 _ -` and a dot, such as `staging.`."},
	{name: "nats.replicas", kind: integer, def: int64(1), min: 1, max: 5, text: "Number of copies of the log. On a cluster of three, use 3. With 2, nothing can be published while one of the two servers is down."},
	{name: "nats.start_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long the start waits for the servers."},
	{name: "nats.embedded.host", kind: text, def: "127.0.0.1", text: "Address of the embedded server. Anyone who can reach it can use it."},
	{name: "nats.embedded.port", kind: integer, def: int64(4222), min: -1, max: 65535, text: "Port of the embedded server; 0 or -1 takes any free one."},
	{name: "nats.embedded.store_dir", kind: text, def: "", text: "Where the embedded server keeps the log. Default: `sluice` in the user's data directory (`$XDG_DATA_HOME`, else `~/.local/share`), so that it does not depend on the working directory."},
	{name: "nats.embedded.max_store", kind: integer, def: int64(10 << 30), min: leastStore, unit: "bytes", text: "Maximum size of the log. It must have room for the bytes of all apps (`history.max_bytes`, `history_max_bytes`), for 32 MiB for orders to all gateways and their state, and for 1 GiB more if any app has webhooks (more from about ninety addresses on, or ten if events may have 1 MiB). Smaller values are refused with an error that states the minimum."},
	{name: "nats.embedded.sync_interval", kind: duration, def: "1s", min: 0, max: 600, text: "How much of the newest data a crash of the machine may lose. A killed process loses nothing."},

	{name: "history.enabled", kind: boolean, def: false, development: true, text: "The history API. In development mode the default is true."},
	{name: "history.max_messages", kind: integer, def: int64(1000), min: -1, max: 1 << 40, text: "Events kept per channel, 1 or more. With -1, only age and bytes are limits, and on Redis age alone."},
	{name: "history.max_bytes", kind: integer, def: int64(1 << 30), min: -1, max: 1 << 50, unit: "bytes", text: "Maximum size of the log of one app: at least 1 MiB and four times the largest event. -1 is no limit. No effect on Redis."},
	{name: "history.retention_window_seconds", kind: integer, def: int64(86400), min: 60, max: 10 * 365 * 86400, unit: "s", text: "How long events are kept."},
	{name: "history.max_page_size", kind: integer, def: int64(100), min: 1, max: 1000, text: "Largest page of the history API."},
	{name: "history.rewind_enabled", kind: boolean, def: true, text: "Let V2 subscriptions begin with a part of the past (`rewind`), at most a page. Needs `history.enabled`."},

	{name: "delta_compression.enabled", kind: boolean, def: true, text: "Enables delta compression."},
	{name: "delta_compression.algorithm", kind: choice, def: "fossil", choices: []string{"fossil", "xdelta3", "vcdiff"}, text: "Default algorithm; `vcdiff` is another name of `xdelta3`."},
	{name: "delta_compression.full_message_interval", kind: integer, def: int64(10), min: 0, max: 1 << 30, text: "One in this many publications is sent in full; with 0 and 1, all are."},
	{name: "delta_compression.min_message_size", kind: integer, def: int64(100), min: 0, max: 1 << 30, unit: "bytes", text: "Smaller frames are sent plain."},
	{name: "delta_compression.max_state_age_secs", kind: integer, def: int64(300), min: 1, max: 1 << 30, unit: "s", text: "Maximum age of a base."},
	{name: "delta_compression.max_channel_states_per_socket", kind: integer, def: int64(100), min: 1, max: 1 << 30, text: "Channels of one connection that can use deltas at the same time. Beyond this, the least recently used channel starts again with a full message."},
	{name: "delta_compression.max_conflation_states_per_channel", kind: integer, def: int64(100), min: 1, max: 1 << 20, text: "Conflation values kept per channel, unless the channel's entry says otherwise."},
	{name: "delta_compression.max_total_base_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "Memory for the bases of all channels, 1 MiB or more. Beyond it events are sent in full, and channels that were silent for longest give up their bases. 0 is an eighth of the memory (see `memory.limit`)."},
	{name: "delta_compression.conflation_key_path", kind: text, def: "", text: "Path of the conflation value in the data: up to 16 names joined by dots, 256 bytes in all, unless the channel's entry says otherwise."},
	{name: "delta_compression.cluster_coordination", kind: boolean, def: false, text: "All gateways send the same publications in full: each derives the count from the log, with checkpoints in a bucket of the NATS cluster. Otherwise each gateway counts from when it began to serve a channel. Needs `history.max_messages` of 8 or more and a retention of 300 s or more."},
	{name: "delta_compression.coordination_backend", kind: text, def: "auto", text: "Accepted and ignored."},
	{name: "delta_compression.omit_delta_algorithm", kind: boolean, def: false, text: "Accepted and ignored: every delta names its algorithm."},

	{name: "tag_filtering.enabled", kind: boolean, def: false, text: "Enables filters in subscriptions, by event name and tags. If off, filters are checked and ignored."},
	{name: "tag_filtering.max_bytes_per_connection", kind: integer, def: int64(256 << 10), min: 1 << 10, max: 64 << 20, unit: "bytes", text: "Memory for the filters of one connection; equal filters count once. A subscription that exceeds it is refused."},
	{name: "tag_filtering.enable_tags", kind: boolean, def: true, text: "Deliver tags to V2 sockets."},
	{name: "connection_recovery.enabled", kind: boolean, def: false, development: true, text: "V2 clients that reconnect get what they missed, on any gateway. In development mode the default is true."},
	{name: "connection_recovery.buffer_ttl_seconds", kind: integer, def: int64(120), min: 1, max: 1 << 30, unit: "s", text: "How long events stay in memory for clients that reconnect. Older events are read from the log."},
	{name: "connection_recovery.max_buffer_size", kind: integer, def: int64(100), min: 1, max: 1 << 20, text: "Maximum number of missed events of a channel that a client can recover; a client that missed more is told so. As many are kept in memory for each channel."},
	{name: "connection_recovery.max_buffer_bytes", kind: integer, def: int64(4 << 20), min: 64 << 10, max: 1 << 30, unit: "bytes", text: "Maximum size of such events for one channel: data, extras and tags."},
	{name: "connection_recovery.max_total_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "Memory for recent events of all channels, kept for clients that reconnect, 1 MiB or more. Beyond it, the log is read. Snapshots of all channels may use the same amount again, and so may history that was read ahead of its readers, 64 MiB at most. 0 is a sixteenth of the memory (see `memory.limit`)."},
	{name: "idempotency.enabled", kind: boolean, def: true, later: isFalse, text: "Idempotency keys of publishes. The log implements them, and they cannot be switched off."},
	{name: "idempotency.ttl_seconds", kind: integer, def: int64(120), min: 120, max: 120, unit: "s", text: "How long an idempotency key is remembered, or as long as the log keeps events if that is less. It is fixed, because gateways rely on it when they repeat a publish whose answer was lost."},
	{name: "idempotency.max_key_length", kind: integer, def: int64(128), min: 1, max: 128, unit: "bytes", text: "Maximum length of an idempotency key. Publishes with a longer one are answered with 400."},

	{name: "websocket_max_payload_kb", kind: integer, def: int64(64), min: 1, max: 1024, unit: "KiB", text: "Maximum size of a client message."},
	{name: "websocket.queue_frames", kind: integer, def: int64(4096), min: 16, max: 1 << 20, text: "Maximum number of frames that wait for one socket."},
	{name: "websocket.queue_bytes", kind: integer, def: int64(1 << 20), min: 64 << 10, max: 1 << 30, unit: "bytes", text: "Maximum number of bytes that wait for one socket. A socket that exceeds either limit is closed with 4100, or skips publications, see `slow_client_policy` of its app."},
	{name: "websocket.total_queue_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "Memory that all slow sockets may hold together, 1 MiB or more; shared frames count once. When it is nearly reached, the slowest sockets are closed with 4100. 0 is a quarter of the memory (see `memory.limit`)."},
	{name: "websocket.total_message_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "Memory for all client messages that have arrived only in part, 1 MiB or more; messages of up to 4 KiB do not count. Beyond it, the connection with the oldest such message is closed with 4100. 0 is a sixteenth of the memory (see `memory.limit`), and at least eight of the largest messages."},
	{name: "websocket.send_buffer", kind: integer, def: int64(0), min: 0, max: 64 << 20, unit: "bytes", text: "Kernel buffer of one socket, before frames wait in its queue. 0 leaves it to the system, which may use megabytes. With a small value, slow sockets are detected sooner."},
	{name: "websocket.compression", kind: boolean, def: false, text: "Offer per-message compression (permessage-deflate, without context takeover) to clients that ask for it."},
	{name: "websocket.slow_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long a socket may accept no data at all while frames wait."},
	{name: "websocket.max_subscriptions", kind: integer, def: int64(1000), min: 1, max: 100000, text: "Maximum number of channels of one connection."},
	{name: "websocket.subscription_rate", kind: integer, def: int64(50), min: 0, max: 1 << 20, text: "Subscriptions, unsubscriptions and sign-ins of one connection a second, after a burst of `websocket.max_subscriptions` and one second more. A request of more than 4 KiB counts once for each 4 KiB. Requests above the rate are not refused, but read later. 0 is no limit."},
	{name: "websocket.channel_rate", kind: integer, def: int64(500), min: 0, max: 1 << 20, text: "Channels a second that this gateway begins to follow for connections that have already made it follow more than 32; for all of them together, after a burst of four seconds. Channels with other subscribers do not count. Subscriptions above the rate wait, clients in turns, 10 seconds at most. 0 is no limit."},
	{name: "websocket.message_rate", kind: integer, def: int64(200), min: 0, max: 1 << 20, text: "Frames of one connection a second, of any kind, with the same burst, in addition to the client events that its app allows. Frames above the rate are read later. 0 is no limit, and there is none in apps whose client events have no limit."},
	{name: "http.header_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "Time to send the header of a request."},
	{name: "http.body_timeout", kind: duration, def: "30s", min: 1, max: 600, text: "Time to send a whole request. A third of it may pass without a byte of its body."},
	{name: "http.answer_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "Time to read an answer, plus a second for each 64 KiB of it. The connection of a client that takes longer is closed."},
	{name: "http.idle_timeout", kind: duration, def: "2m", min: 1, max: 3600, text: "How long a connection is kept for the next request. It must be longer than a load balancer keeps idle connections to gateways. Otherwise the balancer sends requests into connections that are just being closed, see docs/proxies.md."},
	{name: "http.max_handshakes_per_address", kind: integer, def: int64(8192), min: 0, max: 1 << 20, text: "Connections of one address that have not sent the header of a request yet. Further ones are answered with 503 and `Retry-After`, and closed. The default is above what reconnects at once through one load balancer or network. For IPv6, a network of 64 bits counts as one address. Behind a proxy, all connections have its address, unless it is listed in `trusted_proxies`. 0 is no limit."},
	{name: "http.handshake_rate", kind: integer, def: int64(1000), min: 0, max: 1 << 20, text: "WebSockets and event streams a second that are always admitted when many arrive at once, for example after another gateway died. While the gateway keeps up with live events, it admits up to eight times as many. Connections above the rate are not refused: they wait, clients in turns. So live events take precedence over new connections. 0 admits all at once."},
	{name: "http.max_body", kind: integer, def: int64(1 << 20), min: 1 << 10, max: 64 << 20, unit: "bytes", text: "Maximum size of a request body."},
	{name: "http.max_bodies", kind: integer, def: int64(0), min: 0, max: 1 << 34, unit: "bytes", text: "Memory for the bodies of all requests that are being read or handled; at least four times `http.max_body`. 0 is 64 MiB, or four times `http.max_body` if that is more. Further requests are refused with 503. If there are several apps, one app gets at most half of it. The same amount again is for answers of more than 64 KiB that wait for their readers."},
	{name: "http.publish_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long a publish may wait for the log. Reading history, querying members and subscribing wait as long while the log cannot be read, for example during an election: at least 5 s, and a subscription 10 s."},
	{name: "publishing.max_events", kind: integer, def: int64(16384), min: 1, max: 1 << 24, text: "Events of all publishers that may wait for the acknowledgement of the log. Half of them are divided among the apps, so that no app keeps others from publishing. Further events are refused with 503, client events with an error."},
	{name: "publishing.max_bytes", kind: integer, def: int64(64 << 20), min: 1 << 20, max: 1 << 34, unit: "bytes", text: "Maximum size of such events, divided in the same way."},
	{name: "publishing.atomic_batches", kind: choice, def: "replicated", choices: []string{"replicated", "always", "never"}, text: "For which apps the events of one request (`batch_events`, or an event for several channels) are stored all or not at all, with nats-server 2.12.1 or later: for apps with more than one replica (`replicated`), for all (`always`), or for none (`never`). With one replica, it costs the NATS server about a millisecond for each request. It must be the same on all gateways."},
	{name: "user_authentication_timeout", kind: integer, def: int64(3600), min: 1, max: 1 << 30, unit: "s", text: "Time after which connections of apps with `require_authorized_connections` are closed with 4009, if they have neither signed in nor joined a private or presence channel."},
	{name: "cache_ttl_seconds", kind: integer, def: int64(1800), min: 1, max: 1 << 30, unit: "s", text: "How long a cache channel keeps its last event."},
	{name: "presence.lease", kind: duration, coarse: true, def: "10s", min: 2, max: 600, text: "Time within which the members of a dead gateway leave, in whole seconds. A gateway that is cut off from NATS for four fifths of it counts as dead."},

	{name: "memory.limit", kind: integer, def: int64(0), min: 0, max: 1 << 50, unit: "bytes", text: "Memory that the process may use, 64 MiB or more. 0 is the limit of its cgroup, if there is one. Never more than `GOMEMLIMIT`; unless that is set, the garbage collector gets nine tenths of the limit. When three quarters of the collector's limit are live, new connections get 503 and new channels are refused. Without any limit, nothing is refused because of memory, and other limits are derived from the memory of the machine."},
	{name: "descriptors.reserve", kind: integer, def: int64(0), min: 0, max: 1 << 20, text: "File descriptors that are reserved for the log; connections that would need them get 503. 0 is 32 plus two for each app, at most half of the limit of the process."},
	{name: "metrics.host", kind: text, def: "127.0.0.1", text: "Address of the metrics port. Because metrics contain names of channels, any address but a loopback one needs `metrics.token`."},
	{name: "metrics.port", kind: integer, def: int64(9601), min: -1, max: 65535, text: "Port of the metrics; 0 takes any free one, -1 switches them off."},
	{name: "metrics.token", kind: secret, def: "", text: "Token that requests for metrics must send as `Authorization: Bearer TOKEN`: visible ASCII characters, no spaces."},
	{name: "metrics.prefix", kind: text, def: "sockudo_", text: "Prefix of the name of every metric, up to 64 letters, digits, `_` and `:`."},
	{name: "metrics.max_channel_labels", kind: integer, def: int64(1000), min: 1, max: 1000000, text: "Maximum number of channels per app that get a label of their own in the metrics."},
	{name: "tracing.endpoint", kind: text, def: "", text: "Address of the collector for traces (OTLP over HTTP), such as `http://127.0.0.1:4318/v1/traces`. Empty: nothing is recorded. Headers for the collector may be in the environment variable `OTEL_EXPORTER_OTLP_HEADERS`."},
	{name: "tracing.sample_ratio", kind: text, def: "0.1", text: "Share of the traces that begin here and are recorded, from 0 to 1. For requests with a `traceparent`, the sender decides."},
	{name: "tracing.service_name", kind: text, def: "sluice", text: "Service name of the traces, up to 200 bytes."},

	{name: "console.enabled", kind: choice, def: "auto", choices: []string{"auto", "true", "false"}, text: "The console for operators (docs/console.md), which shows channels, events and connections, and can close connections. `auto`: only in development mode, if the page at `/` is shown. It is then at `/console/` of the main port, only for requests from this machine. Otherwise it has its own listener."},
	{name: "console.host", kind: text, def: "127.0.0.1", text: "Address of the console's listener. Any address but a loopback one needs `console.token`."},
	{name: "console.port", kind: integer, def: int64(9602), min: 0, max: 65535, text: "Port of the console's listener; 0 takes any free one. In development mode, the console has its own port only with `console.token`."},
	{name: "console.token", kind: secret, def: "", text: "Token to log in to the console: 16 to 200 visible ASCII characters without spaces, at least 8 different ones. Scripts send it as `Authorization: Bearer TOKEN`. Without a token, the console answers only requests from this machine. With one, it answers to `localhost`, to addresses, and to the names in `allowed_hosts`."},
	{name: "debug.pprof", kind: text, def: "", text: "Address of the profiler (`/debug/pprof/`), such as `127.0.0.1:6060`, only for requests from this machine; it must be a loopback address. Empty is off."},
	{name: "log.level", kind: choice, def: "info", choices: []string{"debug", "info", "warn", "error"}, text: "Minimum level that is logged."},
	{name: "log.format", kind: choice, def: "text", choices: []string{"text", "json"}, text: "Format of log lines."},
	{name: "shutdown.ready_delay_seconds", kind: integer, def: int64(-1), min: -1, max: 3600, unit: "s", text: "How long a stopping server continues to serve while `/ready` answers 503, so that load balancers send no more clients. -1 is 5 in production mode and 0 in development mode."},
	{name: "shutdown.drain_seconds", kind: integer, def: int64(10), min: 0, max: 3600, unit: "s", text: "How long connections have to leave after that."},

	{name: "apps_encryption_key", kind: secret, def: "", text: "Key that seals the apps of `sluice app` in the cluster, see docs/operations.md: any text of 32 bytes or more, the same on all gateways. Without it there are no such apps, except in development mode with an embedded server, which creates a key in its data directory. With it, `apps` may be empty. A change needs a restart."},
	{name: "apps_decryption_keys", kind: secret, def: "", text: "Earlier encryption keys, separated by commas or line breaks. They only open what was sealed with them; `sluice app reseal` seals it with the new key."},
	{name: "apps", kind: tree, def: []any{}, text: "The apps; see below."},
})

// appKeys is the table for the entries of `apps`.
var appKeys = withFiles([]key{
	{name: "id", kind: text, text: "Name in HTTP paths and subjects. Required, 1 to 100 bytes."},
	{name: "key", kind: text, text: "Public key. Required outside development mode, where it defaults to the id."},
	{name: "secret", kind: secret, text: "Secret for signatures. Required outside development mode, where it defaults to the id."},
	{name: "previous_keys", kind: tree, text: "Earlier credentials of the app that are still accepted, so that keys can be exchanged without refusing anybody: a list of up to 16 objects of `key` (default: that of the app), `secret` or `secret_file`, and `until` (a time such as `2026-03-01T12:00:00Z`, default without end). After that time they are no longer accepted; connections stay. Webhooks are signed with `secret`."},
	{name: "enabled", kind: boolean, def: true, text: "A disabled app refuses connections (4003) and requests (403)."},
	{name: "channel_delta_compression", kind: tree, text: "Channel names or patterns with one `*`, each with `fossil`, `xdelta3`, `disabled`, `inherit`, or an object of `enabled`, `algorithm`, `conflation_key`, `max_messages_per_key` (no effect), `max_conflation_keys`, `enable_tags`."},
	{name: "slow_client_policy", kind: choice, def: "close", choices: []string{"close", "conflate"}, text: "What happens to a socket that reads more slowly than events are published. `close`: it is closed with 4100. `conflate`: on channels with a conflation path it skips to the newest publication of each conflation value, and is told so; on other channels it is closed."},
	{name: "max_connections", kind: integer, def: int64(0), min: 0, max: 1 << 30, text: "Maximum number of connections over all gateways; further ones are closed with 4004, or with 4100 while a gateway that holds some of them is dying or stopping. Connections that arrive at several gateways at the same moment may exceed it. 0 is no limit."},
	{name: "max_event_payload_in_kb", kind: integer, def: int64(10), min: 1, max: 1024, unit: "KiB", text: "Maximum size of the data of one event, in units of 1,024 bytes, over HTTP (413 beyond it) and of client events (an error with code 4301). Each event of a batch has this limit. The name, channels, tags and extras do not count; `http.max_body` limits the whole request. A string counts as the text that it stands for, without quotes and escapes, any other JSON value as it is written. Raw events of `nats pub` have the limit of the app with the largest one, and at least 64 KiB."},
	{name: "max_event_channels_at_once", kind: integer, def: int64(100), min: 1, max: 1000, text: "Maximum number of channels of one publish."},
	{name: "max_event_batch_size", kind: integer, def: int64(10), min: 1, max: 1000, text: "Maximum number of events of one batch."},
	{name: "max_event_name_length", kind: integer, def: int64(200), min: 1, max: 200, unit: "bytes", text: "Maximum length of an event name."},
	{name: "max_channel_name_length", kind: integer, def: int64(200), min: 1, max: 200, unit: "bytes", text: "Maximum length of a channel name."},
	{name: "enable_client_messages", kind: boolean, def: false, text: "Client events: subscribers of private and presence channels may send events to each other."},
	{name: "max_client_events_per_second", kind: integer, def: int64(10), min: 0, max: 1 << 20, text: "Client events of one connection; further ones are dropped and answered with 4301. 0 is no limit."},
	{name: "max_presence_members_per_channel", kind: integer, def: int64(100), min: 1, max: 1 << 20, text: "Maximum number of distinct users in a presence channel. Users who join at several gateways at the same moment may exceed it."},
	{name: "max_presence_member_size_in_kb", kind: integer, def: int64(1), min: 1, max: 1024, unit: "KiB", text: "Maximum size of `user_info`."},
	{name: "enable_user_authentication", kind: boolean, def: false, text: "Connections may sign in as a user, and then receive events on `#server-to-user-ID`."},
	{name: "require_authorized_connections", kind: boolean, def: false, text: "Close connections that have neither signed in nor joined a private or presence channel in time, see `user_authentication_timeout`."},
	{name: "enable_watchlist_events", kind: boolean, def: false, text: "Connections that sign in are told when users on their watchlist come online and go offline. Needs `enable_user_authentication`."},
	{name: "enable_subscription_count", kind: boolean, def: false, text: "Subscribers are told the number of subscriptions of their channel."},
	{name: "max_backend_events_per_second", kind: integer, def: int64(0), min: 0, max: 1 << 30, text: "Events published over HTTP, one for each channel; further ones are refused with 429. A request with more events than that is accepted once a second's worth is free, and those behind it wait for the rest. 0 is no limit."},
	{name: "max_read_requests_per_second", kind: integer, def: int64(0), min: 0, max: 1 << 30, text: "Queries over HTTP; further ones are refused with 429. 0 is no limit."},
	{name: "history_max_messages", kind: integer, def: int64(0), min: -1, max: 1 << 40, text: "Events kept per channel. With -1, only age and bytes are limits; 0 is `history.max_messages`. This key and the next three are not available with `adapter.driver: local`."},
	{name: "history_max_bytes", kind: integer, def: int64(0), min: -1, max: 1 << 50, unit: "bytes", text: "Maximum size of the log of the app: at least 1 MiB and four times the largest event. -1 is no limit, 0 is `history.max_bytes`. No effect on Redis."},
	{name: "history_retention_seconds", kind: integer, def: int64(0), min: 0, max: 10 * 365 * 86400, unit: "s", text: "How long events are kept, 60 or more; 0 is `history.retention_window_seconds`."},
	{name: "history_replicas", kind: integer, def: int64(0), min: 0, max: 5, text: "Number of copies of the log of the app on a NATS cluster; 0 is `nats.replicas`."},
	{name: "channel_history", kind: tree, text: "Channel names or patterns with one `*` for which less can be read than is kept, each with `disabled`, or an object of `enabled`, `max_messages` (only that many of the newest events, 1 to 1000) and `retention_seconds` (only events up to that age, from 1 to 315360000); neither may exceed what the app keeps. The entry is chosen as in `channel_delta_compression`."},
	{name: "channel_snapshot", kind: tree, text: "Channel names or patterns with one `*` whose subscribers get the newest event of each conflation value right after the success frame, each with `true` or `false`, or an object of `enabled` and `max_values` (from 1 to 100000, default 10000). The entry is chosen as in `channel_delta_compression`."},
	{name: "webhooks", kind: tree, text: "Addresses that receive webhooks for the channels of the app: a list of objects of `url`, `event_types` (default all), `filter` (`channel_name_starts_with`, `channel_name_ends_with`), `headers`, and `batch` (`true`, or `duration_ms`, default 50, and `size`, default 50)."},
	{name: "allowed_origins", kind: texts, def: []string{}, text: "Origins of pages that may connect: `https://example.com`, `example.com`, `*.example.com`; all if empty. Others are closed with 4009, and so is the origin `null`. Clients that send no origin are not browsers and may connect."},
})

// env returns the name of a key's environment variable.
func (k *key) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// flag returns the name of a key's flag.
func (k *key) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.name)
}

func find(table []key, name string) *key {
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}
