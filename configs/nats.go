package configs

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strings"
)

// domainName matches the domains that JetStream accepts: one token of a subject.
var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// prefixName matches prefixes of streams, buckets and subjects. Streams and buckets change the letters to one
// case, so two prefixes must not differ only in case.
var prefixName = regexp.MustCompile(`^[a-z0-9_-]{1,39}\.$`)

// CheckNATSPrefix returns an error for an invalid prefix of subjects. An empty prefix is valid.
func CheckNATSPrefix(prefix string) error {
	if prefix != "" && !prefixName.MatchString(prefix) {
		return fmt.Errorf("is %q, must be 1 to 39 of a-z 0-9 _ - and a dot", shorten(prefix))
	}
	return nil
}

// check checks how NATS is reached.
func (n *NATS) check(p *problems) {
	web := 0
	for _, u := range n.URLs {
		if !natsURL(u) {
			p.at("nats.url", "nats.url has %q, must be nats://, tls://, ws:// or wss:// with a host, and a port from 1 to 65535 if need be", shorten(redactURL(u)))
		}
		checkFilled("nats.url", u, p)
		if lower := strings.ToLower(u); strings.HasPrefix(lower, "ws://") || strings.HasPrefix(lower, "wss://") {
			web++
		}
	}
	if web > 0 && web < len(n.URLs) {
		p.at("nats.url", "nats.url has %d of %d addresses that begin with ws:// or wss://, must be all of them or none", web, len(n.URLs))
	}
	if err := CheckNATSPrefix(n.Prefix); err != nil {
		p.at("nats.prefix", "nats.prefix %v", err)
	}
	if n.Domain != "" && !domainName.MatchString(n.Domain) {
		p.at("nats.domain", "nats.domain is %q, must be 1 to 64 of A-Z a-z 0-9 _ -", shorten(n.Domain))
	}
	if in := n.InboxPrefix; in == "" || len(in) > 100 || strings.ContainsAny(in, "*> \t\r\n") || strings.HasPrefix(in, ".") ||
		strings.HasPrefix(in, "$") || strings.HasSuffix(in, ".") || strings.Contains(in, "..") {
		p.at("nats.inbox_prefix", "nats.inbox_prefix is %q, must be words joined by dots, 1 to 100 bytes, without wildcards", shorten(in))
	}
	if p.sound("nats.tls.cert_file", "nats.tls.key_file") && (n.CertFile == "") != (n.KeyFile == "") {
		p.add("nats.tls.cert_file and nats.tls.key_file must be given together")
	}
	if p.sound("nats.user", "nats.password") && (n.User == "") != (n.Password == "") {
		p.add("nats.user and nats.password must be given together")
	}
	var ways []string
	for _, way := range []struct{ name, value string }{
		{"nats.credentials_file", n.CredentialsFile}, {"nats.nkey_file", n.NKeyFile}, {"nats.user", n.User}, {"nats.token", n.Token.Reveal()},
	} {
		if way.value != "" {
			ways = append(ways, way.name)
		}
	}
	if len(ways) > 1 {
		p.add("%s are given, must be one of them at most", strings.Join(ways, " and "))
	}
}

// What the log on NATS reserves in addition to the logs of the apps. These numbers must not be smaller than
// those in `streams`.
const (
	// ordersBytes is for orders to all gateways. stateBytes is room for the buckets, which have no limit:
	// cluster state and the apps of the cluster.
	ordersBytes, stateBytes = 16 << 20, 16 << 20
	// leastStore is the minimum for a server without any app.
	leastStore = ordersBytes + stateBytes
	// webhookBytes is the minimum reserved on disk for the queues of webhooks. With many addresses it is
	// webhookTasks tasks of each size for each address.
	webhookBytes, webhookTasks = 1 << 30, 16
	// payloadLeast is the largest event data that the log always accepts.
	payloadLeast = 64 << 10
)

// checkStore refuses apps for which the embedded server has no room: it reserves the bytes of each app when it
// creates its log, so the last ones would not start.
func (c *Config) checkStore(p *problems) {
	if !c.Embeds() {
		return
	}
	if r := c.room(); r.total() > c.NATS.Embedded.MaxStore {
		c.noRoom(r, p)
	}
}

// room returns what the embedded server reserves for the apps.
func (c *Config) room() (r room) {
	for i := range c.Apps {
		r = r.with(&c.Apps[i])
	}
	return r
}

// SetAside returns how many bytes the log on NATS reserves on each server, including what it needs in addition
// to the apps.
func (c *Config) SetAside() int64 { return c.room().total() }

func (c *Config) noRoom(r room, p *problems) {
	p.at("nats.embedded.max_store", "nats.embedded.max_store is %d, must be %d or more: the logs of the apps may have %d bytes together (history.max_bytes or history_max_bytes of each), webhooks %d, and what gateways tell each other %d; "+
		"raise it, or lower those", c.NATS.Embedded.MaxStore, r.total(), r.logs, r.webhooks(), leastStore)
}

// room is what the embedded server reserves for apps.
type room struct {
	logs int64 // in bytes
	// hooks is the number of webhook addresses of all apps, which share their queues, and payload the largest
	// data of an event.
	hooks, payload int
}

// mostLogs bounds the sum, so that it does not overflow. It is beyond any disk.
const mostLogs = math.MaxInt64 >> 1

// with returns the room with one more app.
func (r room) with(a *App) room {
	r.logs = min(r.logs+min(max(a.MaxBytes, 0), mostLogs), mostLogs)
	r.hooks += len(a.Webhooks)
	r.payload = max(r.payload, a.MaxPayload)
	return r
}

// without returns the room without an app. Its payload stays, because the log keeps room for the largest data
// that it ever had.
func (r room) without(a *App) room {
	r.logs -= min(max(a.MaxBytes, 0), mostLogs)
	r.hooks -= len(a.Webhooks)
	return r
}

// webhooks returns what is reserved for webhooks, in bytes.
func (r room) webhooks() int64 {
	if r.hooks == 0 {
		return 0
	}
	// A text may be six times as long in JSON, and a message has a header. Small messages have places of their
	// own, 64 of 2 KiB and 8 of 16 KiB.
	each := int64(6*max(r.payload, payloadLeast) + 64<<10 + 64*2<<10 + 8*16<<10)
	return max(webhookBytes, int64(r.hooks)*webhookTasks*each)
}

// total returns the sum in bytes.
func (r room) total() int64 { return r.logs + r.webhooks() + leastStore }

// natsURL reports whether the NATS client accepts an address. Without a scheme it is a host and a port.
func natsURL(text string) bool {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || !reachable(u) {
		return false
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return true
	}
	return false
}
