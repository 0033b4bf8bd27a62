package configs

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// buildApps builds the list of apps.
func buildApps(raw any, c *Config, p *problems) []App {
	list, ok := raw.([]any)
	if !ok {
		p.at("apps", "apps must be a list")
		return nil
	}
	var out []App
	ids, publics := map[string]int{}, map[string]int{}
	for i, entry := range list {
		m, ok := entry.(map[string]any)
		if !ok {
			p.at(fmt.Sprintf("apps[%d]", i), "apps[%d] must be a structure", i)
			continue
		}
		a := buildApp(fmt.Sprintf("apps[%d].", i), m, c, p)
		for _, u := range []struct {
			name, value string
			seen        map[string]int
		}{{"id", a.ID, ids}, {"key", a.Key, publics}} {
			if !p.sound(fmt.Sprintf("apps[%d].%s", i, u.name)) {
				continue
			}
			if first, dup := u.seen[u.value]; dup && u.value != "" {
				p.add("apps[%d].%s is %q, which apps[%d] has already", i, u.name, shorten(u.value), first)
			}
			u.seen[u.value] = i
		}
		out = append(out, a)
	}
	checkEarlier(out, publics, p)
	if len(list) == 0 {
		if !c.Development {
			switch {
			case (c.EncryptionKeys == nil || c.Driver == "local") && p.sound("apps_encryption_key"):
				p.add("apps is empty; production mode needs at least one app with id, key and secret, or apps_encryption_key for those that `sluice app add` keeps in NATS or Redis")
			case c.Web:
				p.at("web.enabled", "web.enabled is true, but the page is for the first app of the file, and apps is empty")
			}
			return nil
		}
		out = append(out, buildApp("", map[string]any{
			"id": DemoID, "key": DemoKey, "secret": DemoSecret,
			// The messages of the demo are keyed by device.
			"channel_delta_compression": map[string]any{"host-metrics": map[string]any{"conflation_key": "device"}},
		}, c, p))
	}
	return out
}

// buildApp builds one app; where names it in messages.
func buildApp(where string, m map[string]any, c *Config, p *problems) App {
	v := appValues(where, m, c, p)
	text := func(name string) string { s, _ := v[name].(string); return s }
	number := func(name string) int { n, _ := v[name].(int64); return int(n) }
	is := func(name string) bool { b, _ := v[name].(bool); return b }
	enabled := is("enabled")
	a := App{
		ID: text("id"), Key: text("key"), Secret: Secret(text("secret")), SecretFile: text("secret_file"), Enabled: enabled,
		ClientEvents: is("enable_client_messages"), ClientEventRate: number("max_client_events_per_second"),
		UserAuth: is("enable_user_authentication"),
		// Without sign-in there are no watchlists.
		Watchlist: is("enable_watchlist_events") && is("enable_user_authentication"), RequireAuth: is("require_authorized_connections"),
		SubscriptionCount: is("enable_subscription_count"),
		MaxMembers:        number("max_presence_members_per_channel"), MaxMemberInfo: number("max_presence_member_size_in_kb") << 10,
		MaxEvents: number("max_backend_events_per_second"), MaxReads: number("max_read_requests_per_second"),
		Conflate:       text("slow_client_policy") == "conflate",
		MaxConnections: number("max_connections"), MaxPayload: number("max_event_payload_in_kb") << 10,
		MaxChannels: number("max_event_channels_at_once"), MaxBatch: number("max_event_batch_size"),
		MaxEventName: number("max_event_name_length"), MaxChannelName: number("max_channel_name_length"),
	}
	a.checkCredentials(where, c, p)
	a.Earlier = buildEarlier(where+"previous_keys", v["previous_keys"], &a, p)
	a.buildHistory(where, number, c, p)
	a.Histories = buildHistories(where+"channel_history", v["channel_history"], &a, p)
	a.Snapshots = buildSnapshots(where+"channel_snapshot", v["channel_snapshot"], p)
	a.Origins, _ = v["allowed_origins"].([]string)
	for _, pattern := range a.Origins {
		if err := checkOrigin(pattern); err != nil {
			p.add("%sallowed_origins: %q %v", where, shorten(pattern), err)
		}
	}
	a.Webhooks = buildWebhooks(where+"webhooks", v["webhooks"], p)
	a.Channels = buildChannels(where+"channel_delta_compression", v["channel_delta_compression"], c, p)
	return a
}

// appValues reads the keys of an app, with defaults for missing ones.
func appValues(where string, m map[string]any, c *Config, p *problems) map[string]any {
	v := map[string]any{}
	for i := range appKeys {
		v[appKeys[i].name] = appKeys[i].def
	}
	for _, name := range sorted(m) {
		k := find(appKeys, name)
		if k == nil {
			unknown(p, where, name, names(appKeys))
			continue
		}
		if value, ok := k.value(where+name, m[name], p); ok {
			v[name] = value
			if k.later != nil && k.later(value) {
				c.notYet = append(c.notYet, where+name)
			}
		}
	}
	readSecrets(where, appKeys, v, p)
	return v
}

// checkCredentials checks id, key and secret, and fills in those that development mode does not require.
func (a *App) checkCredentials(where string, c *Config, p *problems) {
	if a.ID == "" || len(a.ID) > 100 {
		p.at(where+"id", "%sid is missing or longer than 100 bytes", where)
	}
	if hasControl(a.ID) || isDots(a.ID) {
		p.at(where+"id", "%sid is %q, must have no control characters, and not be . or ..", where, shorten(a.ID))
	}
	if strings.HasPrefix(a.ID, "#") {
		p.add("%sid is %q, but ids that begin with # are reserved", where, shorten(a.ID))
	}
	for _, required := range []struct {
		name string
		is   bool
	}{{"key", a.Key != ""}, {"secret", a.Secret != ""}} {
		if !required.is && !c.Development {
			p.at(where+required.name, "%s%s is missing; only development mode makes one up", where, required.name)
		}
	}
	if a.Key == "" {
		a.Key = a.ID
	}
	if a.Secret == "" {
		a.Secret = Secret(a.ID)
	}
	checkKey(where+"key", a.Key, p)
	checkSecret(where+"secret", a.Secret, p)
}

// buildHistory fills in the retention of the app.
func (a *App) buildHistory(where string, number func(string) int, c *Config, p *problems) {
	a.MaxMessages, a.MaxBytes = int64(number("history_max_messages")), int64(number("history_max_bytes"))
	a.Retention, a.Replicas = time.Duration(number("history_retention_seconds"))*time.Second, number("history_replicas")
	if a.MaxMessages == 0 {
		a.MaxMessages = c.History.MaxMessages
	}
	if a.MaxBytes == 0 {
		a.MaxBytes = c.History.MaxBytes
	}
	if a.Retention == 0 {
		a.Retention = c.History.Retention
	}
	own := number("history_max_messages") != 0 || number("history_retention_seconds") != 0
	if own && c.Delta.Coordinate && (a.MaxMessages >= 0 && a.MaxMessages < 8 || a.Retention < 300*time.Second) {
		p.add("%shistory_max_messages is %d and history_retention_seconds %d, but delta_compression.cluster_coordination needs 8 and 300 or more to count from",
			where, a.MaxMessages, int(a.Retention/time.Second))
	}
}

// byPattern calls read for each channel pattern of a structure, in order.
func byPattern(where string, raw any, p *problems, read func(at, pattern string, value any)) {
	if raw == nil {
		return
	}
	m, ok := raw.(map[string]any)
	if !ok {
		p.add("%s must be a structure of channel patterns", where)
		return
	}
	for _, pattern := range sorted(m) {
		at := fmt.Sprintf("%s[%q]", where, shorten(pattern))
		if pattern == "" || strings.Count(pattern, "*") > 1 {
			p.add("%s: a pattern is a channel name with at most one *", at)
			continue
		}
		read(at, pattern, m[pattern])
	}
}

func buildChannels(where string, raw any, c *Config, p *problems) (out []ChannelDelta) {
	byPattern(where, raw, p, func(at, pattern string, value any) {
		if d, ok := buildChannel(at, pattern, value, c, p); ok {
			out = append(out, d)
		}
	})
	sort.Slice(out, func(i, j int) bool { return out[i].Pattern < out[j].Pattern })
	return out
}

// channelKeys are the keys of an entry in its object form.
var channelKeys = []key{
	{name: "enabled", kind: boolean},
	{name: "algorithm", kind: choice, choices: []string{"fossil", "xdelta3", "vcdiff"}},
	{name: "conflation_key", kind: text},
	{name: "max_messages_per_key", kind: integer, min: 0, max: 1 << 30},
	{name: "max_conflation_keys", kind: integer, min: 1, max: 1 << 20},
	{name: "enable_tags", kind: boolean},
}

// buildChannel builds one entry. It reports false if the entry inherits everything.
func buildChannel(at, pattern string, raw any, c *Config, p *problems) (ChannelDelta, bool) {
	d := ChannelDelta{
		Pattern: pattern, Enabled: true, Algorithm: c.Delta.Algorithm, Path: c.Delta.Path,
		MaxKeys: c.Delta.MaxKeys, DeliverTags: c.DeliverTags,
	}
	if name, ok := raw.(string); ok {
		switch name = strings.ToLower(name); name {
		case "fossil", "xdelta3", "vcdiff":
			d.Algorithm = algorithm(name)
		case "disabled":
			d.Enabled = false
		case "inherit":
			return d, false
		default:
			p.add("%s is %q, must be fossil, xdelta3, disabled, inherit or a structure", at, shorten(name))
		}
		return d, true
	}
	m, ok := raw.(map[string]any)
	if !ok {
		p.add("%s must be fossil, xdelta3, disabled, inherit or a structure", at)
		return d, false
	}
	// An entry in object form does not inherit the global limit of conflation keys.
	d.MaxKeys = 100
	for _, name := range sorted(m) {
		k := find(channelKeys, name)
		if k == nil {
			unknown(p, at+".", name, names(channelKeys))
			continue
		}
		value, ok := k.value(at+"."+name, m[name], p)
		if !ok {
			continue
		}
		switch x := value.(type) {
		case bool:
			if name == "enabled" {
				d.Enabled = x
			} else {
				d.DeliverTags = x
			}
		case string:
			if name == "algorithm" {
				d.Algorithm = algorithm(x)
			} else {
				checkPath(at+".conflation_key", x, p)
				d.Path = x
			}
		case int64:
			if name == "max_conflation_keys" {
				d.MaxKeys = int(x)
			}
		}
	}
	return d, true
}
