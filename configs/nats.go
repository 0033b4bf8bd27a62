package configs

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strings"
)

// domainName is what JetStream takes for a domain, which is one token of a subject.
var domainName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// prefixName is what names of streams, buckets and subjects may begin with. Streams and
// buckets change its letters to one case, so two prefixes must not differ in that alone.
var prefixName = regexp.MustCompile(`^[a-z0-9_-]{1,39}\.$`)

// CheckNATSPrefix says what is wrong with a prefix of subjects. An empty one is none.
func CheckNATSPrefix(prefix string) error {
	if prefix != "" && !prefixName.MatchString(prefix) {
		return fmt.Errorf("is %q, must be 1 to 39 of a-z 0-9 _ - and a dot", shorten(prefix))
	}
	return nil
}

// check looks at how NATS is reached.
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

// What the log on NATS sets aside beside the logs of the apps, as `streams` does it: these must not be
// less than what is set aside there.
const (
	// ordersBytes is for orders to all gateways, and stateBytes leaves room for what the buckets hold,
	// which have no bound: who is where, and the apps of the cluster.
	ordersBytes, stateBytes = 16 << 20, 16 << 20
	// leastStore is what a server without any app needs.
	leastStore = ordersBytes + stateBytes
	// webhookBytes is what the queues of webhooks may take on disk in any case. With many addresses
	// they take webhookTasks tasks of each size for each address.
	webhookBytes, webhookTasks = 1 << 30, 16
	// payloadLeast is the largest data of an event that the log takes in any case.
	payloadLeast = 64 << 10
)

// checkStore refuses apps that the embedded server has no room for: it sets the bytes
// of each aside when it makes its log, so the last ones would not start.
func (c *Config) checkStore(p *problems) {
	if !c.Embeds() {
		return
	}
	if r := c.room(); r.total() > c.NATS.Embedded.MaxStore {
		c.noRoom(r, p)
	}
}

// room is what the embedded server sets aside for the apps.
func (c *Config) room() (r room) {
	for i := range c.Apps {
		r = r.with(&c.Apps[i])
	}
	return r
}

// SetAside is how many bytes the log on NATS sets aside on each server, with room for what it keeps
// beside the apps.
func (c *Config) SetAside() int64 { return c.room().total() }

func (c *Config) noRoom(r room, p *problems) {
	p.at("nats.embedded.max_store", "nats.embedded.max_store is %d, must be %d or more: the logs of the apps may have %d bytes together (history.max_bytes or history_max_bytes of each), webhooks %d, and what gateways tell each other %d; "+
		"raise it, or lower those", c.NATS.Embedded.MaxStore, r.total(), r.logs, r.webhooks(), leastStore)
}

// room is what the embedded server sets aside for apps.
type room struct {
	logs int64 // bytes
	// hooks is how many addresses the webhooks of the apps have, which share their queues, and payload
	// the largest data of an event.
	hooks, payload int
}

// mostLogs bounds the sum, so that it does not overflow: more than any disk has is not told apart.
const mostLogs = math.MaxInt64 >> 1

// with is the room for one more app.
func (r room) with(a *App) room {
	r.logs = min(r.logs+min(max(a.MaxBytes, 0), mostLogs), mostLogs)
	r.hooks += len(a.Webhooks)
	r.payload = max(r.payload, a.MaxPayload)
	return r
}

// without is the room when an app that is in it has gone. The log keeps room for data as large as it
// had once.
func (r room) without(a *App) room {
	r.logs -= min(max(a.MaxBytes, 0), mostLogs)
	r.hooks -= len(a.Webhooks)
	return r
}

// webhooks is what is set aside for webhooks, in bytes.
func (r room) webhooks() int64 {
	if r.hooks == 0 {
		return 0
	}
	// As JSON a text may be six times as long, and a message has a header; small ones have places of
	// their own, 64 of 2 KiB and 8 of 16 KiB.
	each := int64(6*max(r.payload, payloadLeast) + 64<<10 + 64*2<<10 + 8*16<<10)
	return max(webhookBytes, int64(r.hooks)*webhookTasks*each)
}

// total is in bytes.
func (r room) total() int64 { return r.logs + r.webhooks() + leastStore }

// natsURL says whether the client library can make something of an address. Without
// a scheme it takes a host and a port.
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
