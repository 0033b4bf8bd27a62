package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
)

// retentionKeys are the global keys of retention. They can change while a server runs, if its log supports that.
var retentionKeys = map[string]bool{
	"history.max_messages": true, "history.max_bytes": true, "history.retention_window_seconds": true,
}

// live are the other global keys that can change while a server runs, with functions that copy their values
// between configurations. All of `apps` can change as well.
var live = map[string]func(to, from *Config){
	"log.level":                 func(to, from *Config) { to.LogLevel = from.LogLevel },
	"allow_sample_secrets":      func(to, from *Config) { to.AllowSamples = from.AllowSamples },
	"config.watch":              func(to, from *Config) { to.Watch.Enabled = from.Watch.Enabled },
	"config.watch_interval":     func(to, from *Config) { to.Watch.Interval = from.Watch.Interval },
	"history.max_page_size":     func(to, from *Config) { to.History.MaxPage = from.History.MaxPage },
	"delta_compression.enabled": func(to, from *Config) { to.Delta.Enabled = from.Delta.Enabled },
	"delta_compression.algorithm": func(to, from *Config) {
		to.Delta.Algorithm = from.Delta.Algorithm
	},
	"delta_compression.full_message_interval": func(to, from *Config) { to.Delta.Interval = from.Delta.Interval },
	"delta_compression.min_message_size":      func(to, from *Config) { to.Delta.MinSize = from.Delta.MinSize },
	"delta_compression.max_state_age_secs":    func(to, from *Config) { to.Delta.MaxAge = from.Delta.MaxAge },
	"delta_compression.conflation_key_path":   func(to, from *Config) { to.Delta.Path = from.Delta.Path },
	"delta_compression.max_channel_states_per_socket": func(to, from *Config) {
		to.Delta.MaxChannels = from.Delta.MaxChannels
	},
	"delta_compression.max_conflation_states_per_channel": func(to, from *Config) {
		to.Delta.MaxKeys = from.Delta.MaxKeys
	},
	"tag_filtering.enabled":     func(to, from *Config) { to.Filters = from.Filters },
	"tag_filtering.enable_tags": func(to, from *Config) { to.DeliverTags = from.DeliverTags },
	"tag_filtering.max_bytes_per_connection": func(to, from *Config) {
		to.WebSocket.MaxFilterBytes = from.WebSocket.MaxFilterBytes
	},
	"websocket.max_subscriptions": func(to, from *Config) { to.WebSocket.MaxSubscriptions = from.WebSocket.MaxSubscriptions },
	"websocket.subscription_rate": func(to, from *Config) { to.WebSocket.SubscriptionRate = from.WebSocket.SubscriptionRate },
	"websocket.message_rate":      func(to, from *Config) { to.WebSocket.MessageRate = from.WebSocket.MessageRate },
	"idempotency.max_key_length":  func(to, from *Config) { to.HTTP.MaxIdempotencyKey = from.HTTP.MaxIdempotencyKey },
	"user_authentication_timeout": func(to, from *Config) { to.AuthTimeout = from.AuthTimeout },
}

// rereadKeys are secrets that are read again from their files whenever they are needed.
var rereadKeys = []string{"nats.password", "nats.token", "redis_url"}

// reread reports whether a secret differs from that of another configuration only in parts that are read again
// anyway. In a URL these are the user and the password.
func (c *Config) reread(next *Config, name string) bool {
	from := c.values[name+"_file"]
	if !slices.Contains(rereadKeys, name) || from == "" || from != next.values[name+"_file"] {
		return false
	}
	was, _ := c.values[name].(string)
	is, _ := next.values[name].(string)
	return find(keys, name).kind != address || sameServers(was, is)
}

// Live reports whether a global key can change while a server runs.
func Live(name string) bool { return name == "apps" || live[name] != nil || retentionKeys[name] }

// Changed returns the keys whose values differ in next: those that any server can adopt while it runs, those of
// retention, which depend on the log, and the rest, which need a restart. Apps are matched by id, and named by
// their index in next.
func (c *Config) Changed(next *Config) (taken, retention, rest []string) {
	for name, value := range c.values {
		switch {
		// The source of a secret does not matter for what is in force.
		case name == "apps" || find(keys, name).kind == file || reflect.DeepEqual(value, next.values[name]):
		case c.reread(next, name):
		case live[name] != nil:
			taken = append(taken, name)
		case retentionKeys[name]:
			retention = append(retention, name)
		default:
			rest = append(rest, name)
		}
	}
	sort.Strings(taken)
	sort.Strings(retention)
	sort.Strings(rest)
	known := 0
	for i := range next.Apps {
		b := next.Apps[i]
		a := c.app(b.ID)
		if a == nil {
			continue
		}
		known++
		if !reflect.DeepEqual(a.retention(), b.retention()) {
			retention = append(retention, fmt.Sprintf("apps[%d].history", i))
		}
		for _, name := range a.differing(&b) {
			taken = append(taken, fmt.Sprintf("apps[%d].%s", i, name))
		}
	}
	if known != len(c.Apps) || known != len(next.Apps) {
		taken = append(taken, "apps")
	}
	return taken, retention, rest
}

// With returns the configuration with everything of next that can change while a server runs, except for the
// retention of apps that both have. The error is an [*Error]: the settings that stay may conflict with the new
// ones.
func (c *Config) With(next *Config) (*Config, error) {
	out := *c
	out.values = maps.Clone(c.values)
	for name, take := range live {
		take(&out, next)
		out.values[name] = next.values[name]
	}
	out.Apps = slices.Clone(next.Apps)
	for i := range out.Apps {
		if a := c.app(out.Apps[i].ID); a != nil {
			out.Apps[i].retain(a)
		}
	}
	p := newProblems()
	if !c.Development && next.Development {
		// The mode stays. Otherwise the secret that development mode makes up for an app would be known to
		// everybody who can connect.
		for i := range out.Apps {
			if a := &out.Apps[i]; a.Secret.Reveal() == a.ID || a.ID == DemoID && a.Secret == DemoSecret {
				p.add("apps[%d].secret is missing; only development mode makes one up, and mode waits for a restart", i)
			}
		}
	}
	out.check(p)
	if len(p.list) > 0 {
		return nil, &Error{Problems: p.list}
	}
	return &out, out.CheckSecrets()
}

// Basis returns the configuration against which apps of the cluster are built and checked while a running server
// adopts next: what is in force then, with the retention defaults of next for new apps. The error is that of
// [Config.With].
func (c *Config) Basis(next *Config) (*Config, error) {
	out, err := c.With(next)
	if err != nil {
		return nil, err
	}
	h := next.History
	out.History.MaxMessages, out.History.MaxBytes, out.History.Retention = h.MaxMessages, h.MaxBytes, h.Retention
	return out, nil
}

// WithRetention returns the configuration with the retention of next, except for the apps for which left reports
// true.
func (c *Config) WithRetention(next *Config, left func(app string) bool) *Config {
	out := *c
	out.Apps, out.values = slices.Clone(c.Apps), maps.Clone(c.values)
	for i := range out.Apps {
		if b := next.app(out.Apps[i].ID); b != nil && !left(b.ID) {
			out.Apps[i].retain(b)
		}
	}
	h := next.History
	out.History.MaxMessages, out.History.MaxBytes, out.History.Retention = h.MaxMessages, h.MaxBytes, h.Retention
	for name := range retentionKeys {
		out.values[name] = next.values[name]
	}
	return &out
}

func (c *Config) app(id string) *App {
	for i := range c.Apps {
		if c.Apps[i].ID == id {
			return &c.Apps[i]
		}
	}
	return nil
}

func (a *App) retention() [4]int64 {
	return [4]int64{a.MaxMessages, a.MaxBytes, int64(a.Retention), int64(a.Replicas)}
}

// retain copies the retention of another app.
func (a *App) retain(from *App) {
	a.MaxMessages, a.MaxBytes, a.Retention, a.Replicas = from.MaxMessages, from.MaxBytes, from.Retention, from.Replicas
}

// settings returns the app without its retention and without the sources of its secrets.
func (a *App) settings() App {
	out := *a
	out.MaxMessages, out.MaxBytes, out.Retention, out.Replicas, out.SecretFile = 0, 0, 0, 0, ""
	out.Earlier = slices.Clone(a.Earlier)
	for i := range out.Earlier {
		out.Earlier[i].SecretFile = ""
	}
	out.Webhooks = slices.Clone(a.Webhooks)
	for i := range out.Webhooks {
		out.Webhooks[i].HeaderFiles = nil
	}
	return out
}

// differing returns the keys in which another app differs, except for retention.
func (a *App) differing(b *App) (out []string) {
	x, y := a.settings(), b.settings()
	if reflect.DeepEqual(x, y) {
		return nil
	}
	was, is := x.effective(), y.effective()
	for name, v := range is {
		if !reflect.DeepEqual(was[name], v) {
			out = append(out, name)
		}
	}
	// Secrets are printed redacted, so they are compared here.
	for name, differs := range map[string]bool{
		"secret": x.Secret != y.Secret, "previous_keys": !reflect.DeepEqual(x.Earlier, y.Earlier), "webhooks": !reflect.DeepEqual(x.Webhooks, y.Webhooks),
	} {
		if differs && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}
