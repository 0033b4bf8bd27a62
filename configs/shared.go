package configs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// sharedKeys are the keys that all gateways of a cluster must have alike: those that determine the content of
// frames, the number and form of events, what is kept and can be read, and what a client may do. The others
// concern one process and its machine: addresses, files, memory, queues, timeouts, the log.
var sharedKeys = []string{
	"mode", "path_prefix", "activity_timeout", "durability", "nats.replicas",
	"history.enabled", "history.max_messages", "history.max_bytes", "history.retention_window_seconds", "history.max_page_size",
	"history.rewind_enabled", "connection_recovery.enabled", "connection_recovery.max_buffer_size", "connection_recovery.max_buffer_bytes",
	"delta_compression.enabled", "delta_compression.algorithm", "delta_compression.full_message_interval",
	"delta_compression.min_message_size", "delta_compression.max_state_age_secs", "delta_compression.max_channel_states_per_socket",
	"delta_compression.max_conflation_states_per_channel", "delta_compression.conflation_key_path", "delta_compression.cluster_coordination",
	"tag_filtering.enabled", "tag_filtering.max_bytes_per_connection", "tag_filtering.enable_tags",
	"websocket_max_payload_kb", "websocket.max_subscriptions", "websocket.subscription_rate", "websocket.message_rate",
	"http.max_body", "idempotency.max_key_length", "publishing.atomic_batches", "user_authentication_timeout", "cache_ttl_seconds", "presence.lease",
}

// hidden begins the replacement of a secret value.
const hidden = "digest:"

// Shared returns the settings that all gateways of a cluster must have alike, by key. Values are as printed. A
// secret is replaced by a digest, which begins with "digest:" and is keyed with the secret. `apps[ID]` is a
// digest of the whole app, and `apps[ID].KEY` are its settings.
func (c *Config) Shared() map[string]string {
	out := map[string]string{}
	for _, name := range sharedKeys {
		v := c.values[name]
		if d, is := v.(time.Duration); is {
			v = d.String()
		}
		out[name] = fmt.Sprint(v)
	}
	for i := range c.Apps {
		a := &c.Apps[i]
		name := "apps[" + a.ID + "]"
		settings := a.shared()
		lines := make([]string, 0, len(settings))
		for key, value := range settings {
			out[name+"."+key] = value
			lines = append(lines, key+"="+value)
		}
		sort.Strings(lines)
		out[name] = digest("", strings.Join(lines, "\n"))
	}
	return out
}

// shared returns the settings of one app.
func (a *App) shared() map[string]string {
	all := a.effective()
	delete(all, "secret_file")
	all["secret"] = ""
	out := make(map[string]string, len(all))
	for key, v := range all {
		text, is := v.(string)
		if !is {
			b, _ := json.Marshal(v) // it is printed as JSON anyway, so there is no error
			text = string(b)
		}
		out[key] = text
	}
	out["secret"] = digest(a.Secret.Reveal(), "secret")
	if len(a.Earlier) > 0 {
		var b strings.Builder
		for _, k := range a.Earlier {
			fmt.Fprintf(&b, "\n%q %q %v", k.Key, k.Secret.Reveal(), k.Until.UTC())
		}
		out["previous_keys"] = digest(a.Secret.Reveal(), b.String())
	}
	if text, hides := a.webhookSecrets(); hides {
		out["webhooks"] = digest(a.Secret.Reveal(), out["webhooks"]+text)
	}
	return out
}

// webhookSecrets returns the parts of the webhooks that are not printed, and whether there are any.
func (a *App) webhookSecrets() (string, bool) {
	var b strings.Builder
	hides := false
	for _, w := range a.Webhooks {
		hides = hides || len(w.Headers) > 0 || redactQuery(redactURL(w.URL)) != w.URL
		fmt.Fprintf(&b, "\n%q", w.URL)
		for _, name := range slices.Sorted(maps.Keys(w.Headers)) {
			fmt.Fprintf(&b, " %q=%q", name, w.Headers[name].Reveal())
		}
	}
	return b.String(), hides
}

// digest identifies a text without revealing it. With a secret as its key, it is as hard to guess from as a
// signature.
func digest(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("settings\n" + text))
	return hidden + hex.EncodeToString(mac.Sum(nil)[:8])
}
