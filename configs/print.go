package configs

import (
	"strings"
	"time"
)

// Effective returns the configuration in force as a tree, with secrets redacted.
func (c *Config) Effective() map[string]any {
	out := map[string]any{}
	for i := range keys {
		k := &keys[i]
		// Of a secret and its file, the configured one is printed.
		if k.kind == tree || k.kind == file && c.values[k.name] == "" || c.fromFile(k) {
			continue
		}
		v := c.values[k.name]
		if derived, is := c.derived[k.name]; is {
			v = derived
		}
		put(out, k.name, k.printable(v))
	}
	apps := make([]any, len(c.Apps))
	for i := range c.Apps {
		apps[i] = c.Apps[i].effective()
	}
	out["apps"] = apps
	unexpandedTree(out)
	return out
}

// fromFile reports whether a secret came from a file of its own.
func (c *Config) fromFile(k *key) bool {
	path, _ := c.values[k.name+"_file"].(string)
	return path != ""
}

func (k *key) printable(v any) any {
	switch x := v.(type) {
	case time.Duration:
		return x.String()
	case []string:
		list := make([]any, len(x))
		for i, one := range x {
			if list[i] = one; k.name == "nats.url" {
				list[i] = redactURL(one)
			}
		}
		return list
	case string:
		switch {
		case k.kind == secret:
			return Secret(x).String()
		case k.kind == address && x != "":
			return redactURL(x)
		}
	}
	return v
}

func (a *App) effective() map[string]any {
	channels := map[string]any{}
	for _, d := range a.Channels {
		if !d.Enabled {
			channels[d.Pattern] = "disabled"
			continue
		}
		channels[d.Pattern] = map[string]any{
			"enabled": true, "algorithm": d.Algorithm, "conflation_key": d.Path,
			"max_conflation_keys": d.MaxKeys, "enable_tags": d.DeliverTags,
		}
	}
	policy := "close"
	if a.Conflate {
		policy = "conflate"
	}
	out := map[string]any{
		"slow_client_policy": policy, "enable_client_messages": a.ClientEvents,
		"max_client_events_per_second": a.ClientEventRate, "enable_user_authentication": a.UserAuth,
		"allowed_origins": a.Origins,
		"id":              a.ID, "key": a.Key, "secret": a.Secret.String(), "enabled": a.Enabled,
		"max_connections": a.MaxConnections, "max_event_payload_in_kb": a.MaxPayload >> 10,
		"max_event_channels_at_once": a.MaxChannels, "max_event_batch_size": a.MaxBatch,
		"max_event_name_length": a.MaxEventName, "max_channel_name_length": a.MaxChannelName,
		"channel_delta_compression": channels, "enable_watchlist_events": a.Watchlist,
		"enable_subscription_count": a.SubscriptionCount, "require_authorized_connections": a.RequireAuth,
		"max_presence_members_per_channel": a.MaxMembers, "max_presence_member_size_in_kb": a.MaxMemberInfo >> 10,
		"max_backend_events_per_second": a.MaxEvents, "max_read_requests_per_second": a.MaxReads,
		"history_max_messages": a.MaxMessages, "history_max_bytes": a.MaxBytes,
		"history_retention_seconds": int(a.Retention / time.Second), "history_replicas": a.Replicas,
		"channel_history":  effectiveHistories(a.Histories),
		"channel_snapshot": effectiveSnapshots(a.Snapshots),
		"webhooks":         effectiveWebhooks(a.Webhooks),
		"previous_keys":    effectiveEarlier(a.Earlier),
	}
	if a.SecretFile != "" {
		delete(out, "secret")
		out["secret_file"] = a.SecretFile
	}
	return out
}

// redactQuery hides the query of a URL, which often contains tokens.
func redactQuery(address string) string {
	if head, _, found := strings.Cut(address, "?"); found {
		return head + "?" + redacted
	}
	return address
}

func effectiveWebhooks(hooks []Webhook) []any {
	out := []any{}
	for _, w := range hooks {
		headers := map[string]any{}
		for name, value := range w.Headers {
			headers[name] = value.String()
			if path := w.HeaderFiles[name]; path != "" {
				headers[name] = map[string]any{"file": path}
			}
		}
		out = append(out, map[string]any{
			"url": redactQuery(redactURL(w.URL)), "event_types": w.Events, "headers": headers,
			"filter": map[string]any{"channel_name_starts_with": w.Prefix, "channel_name_ends_with": w.Suffix},
			"batch":  map[string]any{"enabled": w.Batch, "duration_ms": w.BatchTime.Milliseconds(), "size": w.BatchSize},
		})
	}
	return out
}

// put sets a dotted name in a tree.
func put(m map[string]any, name string, v any) {
	for {
		head, rest, nested := strings.Cut(name, ".")
		if !nested {
			m[head] = v
			return
		}
		inner, ok := m[head].(map[string]any)
		if !ok {
			inner = map[string]any{}
			m[head] = inner
		}
		m, name = inner, rest
	}
}

// YAML returns the configuration in force. It can be loaded again once the secrets are filled in.
func (c *Config) YAML() ([]byte, error) { return yamlParser.Marshal(c.Effective()) }

// JSON returns the same as JSON.
func (c *Config) JSON() ([]byte, error) { return jsonParser.Marshal(c.Effective()) }
