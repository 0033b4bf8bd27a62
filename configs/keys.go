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
	// development is the default in development mode, nil for that of every mode.
	development any
	// min and max bound integers, and durations in seconds; max 0 is no bound.
	min, max int64
	choices  []string
	unit     string
	// later marks features that this release accepts and does not have; it says
	// when a value asks for one.
	later func(v any) bool
	text  string
}

func isFalse(v any) bool { return v == false }

// keys is the table. Sections appear in the reference in this order.
var keys = withFiles([]key{
	{name: "mode", kind: choice, def: "", choices: []string{"development", "production"}, text: "Development binds to this machine, has the app `app-id` / `app-key` / `app-secret`, takes unsigned requests from this machine and shows the console page. Default: development without a configuration file, production with one."},
	{name: "host", kind: text, def: "", text: "Address to listen on. Default 127.0.0.1 in development mode, 0.0.0.0 in production."},
	{name: "port", kind: integer, def: int64(6001), min: 0, max: 65535, text: "Port for WebSockets and HTTP; 0 takes any free one. Also as `PORT`."},
	{name: "path_prefix", kind: text, def: "", text: "Precedes every path, for example `/realtime`; up to 200 bytes."},
	{name: "allowed_hosts", kind: texts, def: []string{}, text: "Names by which a server of development mode may be reached beside `localhost` and loopback addresses, such as that of a tunnel, without a port. Requests with another `Host`, and those of pages elsewhere, are refused there, so that a page that you visit cannot use your server. The same holds for metrics on a loopback address without a token, and for the console."},
	{name: "trusted_proxies", kind: texts, def: []string{}, text: "Addresses and networks (`10.0.0.0/8`) of the proxies that are believed when they say for whom they pass on connections and requests; limits then go by that address. What others say is ignored. List only proxies that write the header that they are believed for, see docs/proxies.md."},
	{name: "proxy_header", kind: choice, def: "auto", choices: []string{"auto", "x-forwarded-for", "forwarded", "none"}, text: "Header in which trusted proxies name the client, read from its end to the first address that is no trusted proxy. `auto`: the one that is there; if both are and they differ, neither is believed, and all such requests count as one client."},
	{name: "proxy_protocol", kind: choice, def: "optional", choices: []string{"optional", "required", "off"}, text: "PROXY protocol (v1 and v2) on connections of trusted proxies. `optional`: a header is taken if there is one. `required`: connections without one are closed. `off`: none is taken. One from anybody else is refused."},
	{name: "web.enabled", kind: choice, def: "auto", choices: []string{"auto", "true", "false"}, text: "The console page at `/`. `auto`: in development mode only."},
	{name: "allow_sample_secrets", kind: boolean, def: false, text: "Start in production mode with secrets that are published with the samples (`change-this-...`), which is refused otherwise unless `host` is this machine. For trying something out: everybody knows them."},
	{name: "activity_timeout", kind: integer, def: int64(120), min: 1, max: 3600, unit: "s", text: "Silence after which a client is asked for a sign of life."},

	{name: "tls.cert_file", kind: text, def: "", text: "PEM file with the certificate for WebSockets and HTTP, and those that it was issued by. With it the port speaks TLS and nothing else: `wss://` and `https://`, HTTP/2 with those who want it. Read again when it changes and at SIGHUP; a pair that is not usable leaves the earlier one in place, and `/ready` says so. Also as `SSL_CERT_PATH`."},
	{name: "tls.key_file", kind: text, def: "", text: "PEM file with its key. Also as `SSL_KEY_PATH`."},
	{name: "tls.min_version", kind: choice, def: "1.2", choices: []string{"1.2", "1.3"}, text: "Least version of TLS."},
	{name: "tls.http_port", kind: integer, def: int64(-1), min: -1, max: 65535, text: "Port for plain HTTP beside it, usually 80: browsers are sent to `https://`, and challenges of an authority (http-01) are answered. 0 takes any free one, -1 is none."},
	{name: "tls.acme.domains", kind: texts, def: []string{}, text: "Names to have certificates issued and renewed for, by ACME; to name one is to agree to the terms of the authority. It must reach `port` as 443 (tls-alpn-01), or `tls.http_port` as 80 (http-01). Not with `tls.cert_file`."},
	{name: "tls.acme.email", kind: text, def: "", text: "Address that the authority writes to when something is wrong."},
	{name: "tls.acme.directory_url", kind: text, def: "", text: "Directory of the authority, `https://`. Default that of Let's Encrypt."},
	{name: "tls.acme.storage_dir", kind: text, def: "", text: "Directory of the account, certificates and keys; it must outlive the process, and gateways may share it. Default `acme` in the data directory of the user."},
	{name: "tls.acme.ca_file", kind: text, def: "", text: "PEM file with the certificates to trust when talking to an authority of your own."},
	{name: "config.watch", kind: boolean, def: true, text: "Look at the configuration file, and at the files with secrets that it names, and read them again when they have changed, as SIGHUP does. A file with errors changes nothing."},
	{name: "config.watch_interval", kind: duration, def: "2s", min: 1, max: 3600, text: "How often they are looked at. What has changed is read when two looks in a row have found the same."},

	{name: "adapter.driver", kind: choice, def: "nats", choices: []string{"local", "nats", "redis", "redis-cluster"}, text: "Where the log lives. `nats`: JetStream, embedded unless `nats.url` is set. `local`: the memory of this process; nothing is stored. `redis` and `redis-cluster`: Redis streams at `redis_url`, with weaker promises (docs/operations.md, \"Redis\"). There is no fallback: what is chosen is there, or the start fails. Also as `ADAPTER_DRIVER`."},
	{name: "durability", kind: choice, def: "auto", choices: []string{"auto", "process", "machine", "replicated"}, text: "What an acknowledged event must survive in the log on NATS. `process`: killed processes, with an embedded or a single server. `machine`: a crash of the machine as well; the embedded server synchronises its disk with every event, so each waits for the disk. `replicated`: the loss of a server with its disk; three copies on a cluster (`nats.url`, `nats.replicas` of 3 or more). `auto`: what `nats.url` and `nats.replicas` make of it. What is in force is logged at the start and stands in `/ready`; settings that contradict the level stop the start."},
	{name: "redis_url", kind: address, def: "", text: "Server of the Redis log, `redis://` or `rediss://` with user, password and number of the database; further servers of a cluster as `?addr=host:port&addr=host:port`. Unused by the others. Also as `REDIS_URL`."},
	{name: "redis.prefix", kind: text, def: "sluice:", text: "Precedes all keys and channels in Redis, so that installations can share a server; no braces, up to 100 bytes."},
	{name: "redis.tls.ca_file", kind: text, def: "", text: "PEM file with the certificates to trust."},
	{name: "redis.tls.cert_file", kind: text, def: "", text: "PEM file with the client certificate."},
	{name: "redis.tls.key_file", kind: text, def: "", text: "PEM file with its key."},
	{name: "redis.start_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long the start waits for Redis."},
	{name: "nats.url", kind: texts, def: []string{}, text: "Servers of a NATS cluster, `nats://`, `tls://`, `ws://` or `wss://`; one that answers is enough. When set, nothing is embedded."},
	{name: "nats.credentials_file", kind: text, def: "", text: "Credentials file (JWT and seed). At most one of it, `nats.nkey_file`, `nats.user` and `nats.token` may be given."},
	{name: "nats.nkey_file", kind: text, def: "", text: "File with an nkey seed."},
	{name: "nats.user", kind: text, def: "", text: "User name."},
	{name: "nats.password", kind: secret, def: "", text: "Password of the user."},
	{name: "nats.token", kind: secret, def: "", text: "Token."},
	{name: "nats.tls.ca_file", kind: text, def: "", text: "PEM file with the certificates to trust."},
	{name: "nats.tls.cert_file", kind: text, def: "", text: "PEM file with the client certificate."},
	{name: "nats.tls.key_file", kind: text, def: "", text: "PEM file with its key."},
	{name: "nats.tls.handshake_first", kind: boolean, def: false, text: "Begin with the TLS handshake."},
	{name: "nats.domain", kind: text, def: "", text: "JetStream domain, 1 to 64 of `A-Z a-z 0-9 _ -`."},
	{name: "nats.inbox_prefix", kind: text, def: "_INBOX", text: "Precedes the subjects on which NATS answers, up to 100 bytes, so that users need not see each other's answers; see the permissions in docs/operations.md."},
	{name: "nats.prefix", kind: text, def: "", text: "Put before all subjects, streams and buckets, so that two installations can share a cluster. 1 to 39 of `a-z 0-9 _ -` and a dot, such as `staging.`."},
	{name: "nats.replicas", kind: integer, def: int64(1), min: 1, max: 5, text: "Copies of the log. On a cluster of three use 3."},
	{name: "nats.start_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long the start waits for the servers."},
	{name: "nats.embedded.host", kind: text, def: "127.0.0.1", text: "Address of the embedded server. It lets in whoever reaches it."},
	{name: "nats.embedded.port", kind: integer, def: int64(4222), min: -1, max: 65535, text: "Port of the embedded server; 0 or -1 takes any free one."},
	{name: "nats.embedded.store_dir", kind: text, def: "", text: "Where the embedded server keeps the log. Default: `sluice` in the user's data directory (`$XDG_DATA_HOME`, else `~/.local/share`), so that it is found again from wherever the server is started."},
	{name: "nats.embedded.max_store", kind: integer, def: int64(10 << 30), min: leastStore, unit: "bytes", text: "Largest size of the log. It must have room for the bytes of all apps (`history.max_bytes`, `history_max_bytes`), for 32 MiB for orders to all gateways and their state, and for 1 GiB more if any app has webhooks (more from about ninety addresses on, or ten if events may have 1 MiB). Less is refused, with what is needed."},
	{name: "nats.embedded.sync_interval", kind: duration, def: "1s", min: 0, max: 600, text: "What a crash of the machine may cost. A killed process costs nothing."},

	{name: "history.enabled", kind: boolean, def: false, development: true, text: "The history API. In development mode the default is true."},
	{name: "history.max_messages", kind: integer, def: int64(1000), min: -1, max: 1 << 40, text: "Events kept per channel, 1 or more; -1 leaves age and bytes as the only bounds, and on Redis none for a channel that is published to more often than its retention."},
	{name: "history.max_bytes", kind: integer, def: int64(1 << 30), min: -1, max: 1 << 50, unit: "bytes", text: "Size of the log of one app, 1 MiB or more and four times the largest event; -1 is no bound. No effect on Redis."},
	{name: "history.retention_window_seconds", kind: integer, def: int64(86400), min: 60, max: 10 * 365 * 86400, unit: "s", text: "How long events are kept."},
	{name: "history.max_page_size", kind: integer, def: int64(100), min: 1, max: 1000, text: "Largest page of the history API."},
	{name: "history.rewind_enabled", kind: boolean, def: true, text: "Let V2 subscriptions begin with a part of the past (`rewind`), at most a page. Needs `history.enabled`."},

	{name: "delta_compression.enabled", kind: boolean, def: true, text: "Master switch of delta compression."},
	{name: "delta_compression.algorithm", kind: choice, def: "fossil", choices: []string{"fossil", "xdelta3", "vcdiff"}, text: "Default algorithm; `vcdiff` is another name of `xdelta3`."},
	{name: "delta_compression.full_message_interval", kind: integer, def: int64(10), min: 0, max: 1 << 30, text: "One of this many publications goes out in full; 0 and 1: all."},
	{name: "delta_compression.min_message_size", kind: integer, def: int64(100), min: 0, max: 1 << 30, unit: "bytes", text: "Smaller frames take no part."},
	{name: "delta_compression.max_state_age_secs", kind: integer, def: int64(300), min: 1, max: 1 << 30, unit: "s", text: "An older base is not used."},
	{name: "delta_compression.max_channel_states_per_socket", kind: integer, def: int64(100), min: 1, max: 1 << 30, text: "Channels of one connection that may send it deltas at a time. Beyond that the least recently used one starts again in full."},
	{name: "delta_compression.max_conflation_states_per_channel", kind: integer, def: int64(100), min: 1, max: 1 << 20, text: "Conflation values remembered per channel, unless the channel's entry says otherwise."},
	{name: "delta_compression.max_total_base_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "What deltas can start from, of all channels together, 1 MiB or more. Beyond it events go out in full, and the channels that were silent for longest make room. 0 is an eighth of the memory (see `memory.limit`)."},
	{name: "delta_compression.conflation_key_path", kind: text, def: "", text: "Where the conflation value stands in the data, up to 16 names joined by dots, 256 bytes in all, unless the channel's entry says otherwise."},
	{name: "delta_compression.cluster_coordination", kind: boolean, def: false, text: "All gateways send the same publications in full: each derives the count from the log, and checkpoints of it are kept in a bucket of the NATS cluster. Otherwise every gateway counts from when it began to serve a channel. Needs `history.max_messages` of 8 or more and a retention of 300 s or more."},
	{name: "delta_compression.coordination_backend", kind: text, def: "auto", text: "Accepted and ignored."},
	{name: "delta_compression.omit_delta_algorithm", kind: boolean, def: false, text: "Accepted and ignored: every delta names its algorithm."},

	{name: "tag_filtering.enabled", kind: boolean, def: false, text: "Filters in subscriptions, by event names and tags. When off, they are checked and ignored."},
	{name: "tag_filtering.max_bytes_per_connection", kind: integer, def: int64(256 << 10), min: 1 << 10, max: 64 << 20, unit: "bytes", text: "Memory of the filters of one connection; equal ones count once. A subscription beyond it is refused."},
	{name: "tag_filtering.enable_tags", kind: boolean, def: true, text: "Deliver tags to V2 sockets."},
	{name: "connection_recovery.enabled", kind: boolean, def: false, development: true, text: "V2 clients that were away get what they missed when they come back, on any gateway. In development mode the default is true."},
	{name: "connection_recovery.buffer_ttl_seconds", kind: integer, def: int64(120), min: 1, max: 1 << 30, unit: "s", text: "How long events stay in memory for clients that come back. What is older is read from the log."},
	{name: "connection_recovery.max_buffer_size", kind: integer, def: int64(100), min: 1, max: 1 << 20, text: "Events of a channel that a client may have missed; one that missed more is told so. As many are kept in memory for each channel."},
	{name: "connection_recovery.max_buffer_bytes", kind: integer, def: int64(4 << 20), min: 64 << 10, max: 1 << 30, unit: "bytes", text: "Data, extras and tags of such events, for one channel."},
	{name: "connection_recovery.max_total_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "What is kept in memory for clients that come back, of all channels together, 1 MiB or more. Beyond it the log is read. The snapshots of all channels may have as much again. 0 is a sixteenth of the memory (see `memory.limit`)."},
	{name: "idempotency.enabled", kind: boolean, def: true, later: isFalse, text: "Idempotency keys of publishes. The log does it; they cannot be switched off."},
	{name: "idempotency.ttl_seconds", kind: integer, def: int64(120), min: 120, max: 120, unit: "s", text: "How long an idempotency key is remembered, or as long as the log keeps events if that is less. It cannot be chosen, because gateways rely on it when they repeat a publish whose answer was lost."},
	{name: "idempotency.max_key_length", kind: integer, def: int64(128), min: 1, max: 128, unit: "bytes", text: "Longest idempotency key. Publishes with a longer one are answered 400."},

	{name: "websocket_max_payload_kb", kind: integer, def: int64(64), min: 1, max: 1024, unit: "KiB", text: "Largest message of a client."},
	{name: "websocket.queue_frames", kind: integer, def: int64(4096), min: 16, max: 1 << 20, text: "Frames that may wait for one socket."},
	{name: "websocket.queue_bytes", kind: integer, def: int64(1 << 20), min: 64 << 10, max: 1 << 30, unit: "bytes", text: "Bytes that may wait for one socket. A socket beyond either bound is closed with 4100, or skips publications, see `slow_client_policy` of its app."},
	{name: "websocket.total_queue_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "What the sockets that are behind may hold together, 1 MiB or more; what several of them wait for counts once. When it is nearly reached the slowest are closed with 4100. 0 is a quarter of the memory (see `memory.limit`)."},
	{name: "websocket.total_message_bytes", kind: integer, def: int64(0), min: 0, max: 1 << 40, unit: "bytes", text: "Room for all messages of clients of which the beginning has come and the end has not, 1 MiB or more; those of up to 4 KiB do not count. Beyond it the one that began first is given up and its connection closed with 4100. 0 is a sixteenth of the memory (see `memory.limit`), and at least eight of the largest messages."},
	{name: "websocket.send_buffer", kind: integer, def: int64(0), min: 0, max: 64 << 20, unit: "bytes", text: "What the kernel may hold for one socket before frames wait in its queue; 0 leaves it to the system, which may take megabytes. A small value lets slow sockets be noticed sooner."},
	{name: "websocket.compression", kind: boolean, def: false, text: "Offer per-message compression (permessage-deflate, without context takeover) to clients that ask for it."},
	{name: "websocket.slow_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long a socket may take nothing at all while frames wait."},
	{name: "websocket.max_subscriptions", kind: integer, def: int64(1000), min: 1, max: 100000, text: "Channels of one connection."},
	{name: "websocket.subscription_rate", kind: integer, def: int64(50), min: 0, max: 1 << 20, text: "Subscriptions, unsubscriptions and sign-ins of one connection in a second, after a burst of as many as it may have channels and a second more; one of more than 4 KiB counts once for each 4 KiB. What comes faster is not refused; it is read later. 0 is no bound."},
	{name: "websocket.channel_rate", kind: integer, def: int64(500), min: 0, max: 1 << 20, text: "Channels in a second that this gateway begins to follow for connections that have made it follow more than 32 already; for all of them together, after a burst of four seconds of it. Channels that somebody else is in do not count. What comes faster waits, clients in turns, 10 seconds at most. 0 is no bound."},
	{name: "websocket.message_rate", kind: integer, def: int64(200), min: 0, max: 1 << 20, text: "Frames of one connection in a second, of whatever kind, with the same burst; the client events that its app allows come on top. What comes faster is read later. 0 is no bound, and nor is there one in apps whose client events have none."},
	{name: "http.header_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "Time to send the header of a request."},
	{name: "http.body_timeout", kind: duration, def: "30s", min: 1, max: 600, text: "Time to send a whole request, of which a third may pass without a byte of its body."},
	{name: "http.answer_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "Time to take an answer, and a second more for each 64 KiB of it. A client that takes longer loses its connection."},
	{name: "http.idle_timeout", kind: duration, def: "2m", min: 1, max: 3600, text: "How long a connection is kept for the next request. It must be longer than a load balancer keeps its own connections open to be used again, or that sends requests into connections that are just being closed, see docs/proxies.md."},
	{name: "http.max_handshakes_per_address", kind: integer, def: int64(8192), min: 0, max: 1 << 20, text: "Connections of one address that have not sent the header of a request yet; more are answered 503 with `Retry-After` and closed. The default is above what comes back at once through one load balancer or network. Of IPv6 a network of 64 bits counts as one address. Behind a proxy all have its address, unless it is among `trusted_proxies`. 0 is no bound."},
	{name: "http.handshake_rate", kind: integer, def: int64(1000), min: 0, max: 1 << 20, text: "WebSockets and event streams in a second that are let in in any case when many come at once, as after another gateway has died; eight times as many while nothing on this gateway is late for that. Who comes faster is not refused; he waits, clients in turns. So events to those who are there go before newcomers. 0 lets everybody in at once."},
	{name: "http.max_body", kind: integer, def: int64(1 << 20), min: 1 << 10, max: 64 << 20, unit: "bytes", text: "Largest body of a request."},
	{name: "http.max_bodies", kind: integer, def: int64(0), min: 0, max: 1 << 34, unit: "bytes", text: "Bodies of all requests that are being read or handled, together; four times `http.max_body` or more. 0 is 64 MiB, or four times `http.max_body` if that is more. Requests beyond it are refused with 503. When there are several apps, one of them gets half of it at most. As much again is for answers of more than 64 KiB that wait for their readers."},
	{name: "http.publish_timeout", kind: duration, def: "10s", min: 1, max: 600, text: "How long a publish may wait for the log. Whoever reads history, asks who is in a channel or subscribes waits as long while the log cannot be read, as when its servers choose a leader: 5 s at least, a subscription 10 s."},
	{name: "publishing.max_events", kind: integer, def: int64(16384), min: 1, max: 1 << 24, text: "Events that may wait for the acknowledgement of the log at a time, from whoever: half of them is divided among the apps, so that none keeps others from publishing. More are refused with 503; client events with an error."},
	{name: "publishing.max_bytes", kind: integer, def: int64(64 << 20), min: 1 << 20, max: 1 << 34, unit: "bytes", text: "Bytes of such events, divided in the same way."},
	{name: "publishing.atomic_batches", kind: choice, def: "replicated", choices: []string{"replicated", "always", "never"}, text: "Where the events of one request (`batch_events`, and an event for several channels) are stored all or not at all: with nats-server 2.12.1 or later, for apps whose `replicas` are more than 1 (`replicated`), for all of them (`always`), or for none. With one replica it takes the NATS server about a millisecond for each request. It must be the same on all gateways."},
	{name: "user_authentication_timeout", kind: integer, def: int64(3600), min: 1, max: 1 << 30, unit: "s", text: "When connections of apps with `require_authorized_connections` are closed with 4009 that have neither signed in nor joined a private or presence channel."},
	{name: "cache_ttl_seconds", kind: integer, def: int64(1800), min: 1, max: 1 << 30, unit: "s", text: "How long a cache channel remembers its last event."},
	{name: "presence.lease", kind: duration, def: "10s", min: 2, max: 600, text: "Within this time the members of a gateway that died have left, in whole seconds. A gateway that is cut off from NATS for four fifths of it counts as dead."},

	{name: "memory.limit", kind: integer, def: int64(0), min: 0, max: 1 << 50, unit: "bytes", text: "Memory that the process may use, 64 MiB or more; 0 is the limit of its cgroup, if there is one. Never more than `GOMEMLIMIT`; unless that is set the collector is given nine tenths of it. When three quarters of that are held, new connections get 503 and new channels are refused. Without any limit nothing is refused for it, and bounds are derived from what the machine has."},
	{name: "descriptors.reserve", kind: integer, def: int64(0), min: 0, max: 1 << 20, text: "File descriptors that are kept back for the log; connections that would need them get 503. 0 is 32 and two for each app, at most half of what the process may have."},
	{name: "metrics.host", kind: text, def: "127.0.0.1", text: "Address of the metrics, which name channels. Any but a loopback address needs `metrics.token`."},
	{name: "metrics.port", kind: integer, def: int64(9601), min: -1, max: 65535, text: "Port of the metrics; 0 takes any free one, -1 switches them off."},
	{name: "metrics.token", kind: secret, def: "", text: "Who asks for metrics must send it as `Authorization: Bearer TOKEN`: visible ASCII characters, no spaces."},
	{name: "metrics.prefix", kind: text, def: "sockudo_", text: "Put before the name of every metric, up to 64 letters, digits, `_` and `:`."},
	{name: "metrics.max_channel_labels", kind: integer, def: int64(1000), min: 1, max: 1000000, text: "Channel names per app that get a label of their own."},
	{name: "tracing.endpoint", kind: text, def: "", text: "Where traces are sent by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`. Empty: nothing is recorded. Headers for the receiver may be in the variable `OTEL_EXPORTER_OTLP_HEADERS`."},
	{name: "tracing.sample_ratio", kind: text, def: "0.1", text: "Which part of the traces that begin here is recorded, from 0 to 1. Whoever publishes with a `traceparent` has decided himself."},
	{name: "tracing.service_name", kind: text, def: "sluice", text: "Name under which traces appear, up to 200 bytes."},

	{name: "console.enabled", kind: choice, def: "auto", choices: []string{"auto", "true", "false"}, text: "The console for operators (docs/console.md), which shows channels, events and connections, and can close connections. `auto`: in development mode, where the page at `/` is shown. There it is at `/console/` of the main port, for requests of this machine alone; otherwise it has a listener of its own."},
	{name: "console.host", kind: text, def: "127.0.0.1", text: "Address of the console's listener. Any but a loopback address needs `console.token`."},
	{name: "console.port", kind: integer, def: int64(9602), min: 0, max: 65535, text: "Port of the console's listener; 0 takes any free one. In development mode the console has one only with `console.token`."},
	{name: "console.token", kind: secret, def: "", text: "What one must have to log in to the console, 16 to 200 visible ASCII characters without spaces, at least 8 different ones; scripts send it as `Authorization: Bearer TOKEN`. Without one the console is for requests of this machine. With one it is reached by `localhost`, by addresses, and by the names in `allowed_hosts`."},
	{name: "debug.pprof", kind: text, def: "", text: "Address of the profiler (`/debug/pprof/`), such as `127.0.0.1:6060`, for requests of this machine alone; it must be a loopback address. Empty is off."},
	{name: "log.level", kind: choice, def: "info", choices: []string{"debug", "info", "warn", "error"}, text: "Least level that is logged."},
	{name: "log.format", kind: choice, def: "text", choices: []string{"text", "json"}, text: "Form of log lines."},
	{name: "shutdown.ready_delay_seconds", kind: integer, def: int64(-1), min: -1, max: 3600, unit: "s", text: "How long a server that is asked to stop goes on as ever while `/ready` answers 503, so that load balancers send nobody any more. -1 is 5 in production mode and 0 in development mode."},
	{name: "shutdown.drain_seconds", kind: integer, def: int64(10), min: 0, max: 3600, unit: "s", text: "How long connections have to leave at a stop, after that."},

	{name: "apps_encryption_key", kind: secret, def: "", text: "Seals the apps that `sluice app` keeps in the cluster, see docs/operations.md: any text of 32 bytes or more, the same on all gateways. Without it there are none, but in development mode with an embedded server, which makes one in its data directory. With it `apps` may be empty. A changed one needs a restart."},
	{name: "apps_decryption_keys", kind: secret, def: "", text: "Earlier such keys, with commas or line breaks between them. They only open what is sealed with them; `sluice app reseal` seals it anew."},
	{name: "apps", kind: tree, def: []any{}, text: "The apps; see below."},
})

// appKeys is the table for the entries of `apps`.
var appKeys = withFiles([]key{
	{name: "id", kind: text, text: "Name in HTTP paths and subjects. Required, 1 to 100 bytes."},
	{name: "key", kind: text, text: "Public key. Required outside development mode, where it defaults to the id."},
	{name: "secret", kind: secret, text: "Secret for signatures. Required outside development mode, where it defaults to the id."},
	{name: "previous_keys", kind: tree, text: "Credentials that the app had before and that count as well, so that keys are exchanged without anybody being refused: a list of up to 16 objects of `key` (default: that of the app), `secret` or `secret_file`, and `until` (a time such as `2026-03-01T12:00:00Z`, default without end). After that time nobody comes in with them any more; connections stay. Webhooks are signed with `secret`."},
	{name: "enabled", kind: boolean, def: true, text: "A disabled app refuses connections (4003) and requests (403)."},
	{name: "channel_delta_compression", kind: tree, text: "Channel names or patterns with one `*`, each with `fossil`, `xdelta3`, `disabled`, `inherit`, or an object of `enabled`, `algorithm`, `conflation_key`, `max_messages_per_key` (no effect), `max_conflation_keys`, `enable_tags`."},
	{name: "slow_client_policy", kind: choice, def: "close", choices: []string{"close", "conflate"}, text: "What becomes of a socket that does not read as fast as is published. `close`: it is closed with 4100. `conflate`: on channels with a conflation path it skips to the newest publication of each conflation value and is told so; on others it is closed."},
	{name: "max_connections", kind: integer, def: int64(0), min: 0, max: 1 << 30, text: "Connections of all gateways together; one too many is closed with 4004. What arrives at several gateways at the same moment may exceed it. 0 is no bound."},
	{name: "max_event_payload_in_kb", kind: integer, def: int64(10), min: 1, max: 1024, unit: "KiB", text: "Largest data of an event."},
	{name: "max_event_channels_at_once", kind: integer, def: int64(100), min: 1, max: 1000, text: "Channels of one publish."},
	{name: "max_event_batch_size", kind: integer, def: int64(10), min: 1, max: 1000, text: "Events of one batch."},
	{name: "max_event_name_length", kind: integer, def: int64(200), min: 1, max: 200, unit: "bytes", text: "Longest event name."},
	{name: "max_channel_name_length", kind: integer, def: int64(200), min: 1, max: 200, unit: "bytes", text: "Longest channel name."},
	{name: "enable_client_messages", kind: boolean, def: false, text: "Client events: subscribers of private and presence channels may send events to each other."},
	{name: "max_client_events_per_second", kind: integer, def: int64(10), min: 0, max: 1 << 20, text: "Client events of one connection; more are dropped and answered with 4301. 0 is no bound."},
	{name: "max_presence_members_per_channel", kind: integer, def: int64(100), min: 1, max: 1 << 20, text: "Distinct users in a presence channel. What arrives at several gateways at the same moment may exceed it."},
	{name: "max_presence_member_size_in_kb", kind: integer, def: int64(1), min: 1, max: 1024, unit: "KiB", text: "Largest `user_info`."},
	{name: "enable_user_authentication", kind: boolean, def: false, text: "Connections may sign in as a user, and are then reached through `#server-to-user-ID`."},
	{name: "require_authorized_connections", kind: boolean, def: false, text: "Close connections that have neither signed in nor joined a private or presence channel in time, see `user_authentication_timeout`."},
	{name: "enable_watchlist_events", kind: boolean, def: false, text: "Connections that sign in are told when the users on their watchlist come and go. Needs `enable_user_authentication`."},
	{name: "enable_subscription_count", kind: boolean, def: false, text: "Subscribers are told how many they are."},
	{name: "max_backend_events_per_second", kind: integer, def: int64(0), min: 0, max: 1 << 30, text: "Events published over HTTP, one for each channel; more are refused with 429. 0 is no bound."},
	{name: "max_read_requests_per_second", kind: integer, def: int64(0), min: 0, max: 1 << 30, text: "Queries over HTTP; more are refused with 429. 0 is no bound."},
	{name: "history_max_messages", kind: integer, def: int64(0), min: -1, max: 1 << 40, text: "Events kept per channel; -1 leaves age and bytes as the only bounds, 0 is `history.max_messages`. Not with `adapter.driver: local`, as the next three."},
	{name: "history_max_bytes", kind: integer, def: int64(0), min: -1, max: 1 << 50, unit: "bytes", text: "Size of the log of the app, 1 MiB or more and four times the largest event; -1 is no bound, 0 is `history.max_bytes`. No effect on Redis."},
	{name: "history_retention_seconds", kind: integer, def: int64(0), min: 0, max: 10 * 365 * 86400, unit: "s", text: "How long events are kept, 60 or more; 0 is `history.retention_window_seconds`."},
	{name: "history_replicas", kind: integer, def: int64(0), min: 0, max: 5, text: "Copies of the log of the app on a NATS cluster; 0 is `nats.replicas`."},
	{name: "channel_history", kind: tree, text: "Channel names or patterns with one `*` of which less can be read than is kept, each with `disabled`, or an object of `enabled`, `max_messages` (only so many of the newest events, 1 to 1000) and `retention_seconds` (only events of that age, from 1 to 315360000); neither may exceed what the app keeps. The entry is chosen as in `channel_delta_compression`."},
	{name: "channel_snapshot", kind: tree, text: "Channel names or patterns with one `*` whose subscribers get the newest event of each conflation value right after the success frame, each with `true` or `false`, or an object of `enabled` and `max_values` (from 1 to 100000, default 10000). The entry is chosen as in `channel_delta_compression`."},
	{name: "webhooks", kind: tree, text: "Addresses that are told what happens in the channels of the app: a list of objects of `url`, `event_types` (default all), `filter` (`channel_name_starts_with`, `channel_name_ends_with`), `headers`, and `batch` (`true`, or `duration_ms`, default 50, and `size`, default 50)."},
	{name: "allowed_origins", kind: texts, def: []string{}, text: "Pages that may connect: `https://example.com`, `example.com`, `*.example.com`; all if empty. Others are closed with 4009, and so is the origin `null`. Clients that send no origin are no browsers and may connect."},
})

// env is the name of the environment variable of a key.
func (k *key) env() string {
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// flag is the name of the flag of a key.
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
