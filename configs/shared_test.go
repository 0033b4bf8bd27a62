package configs

import (
	"slices"
	"strings"
	"testing"
)

// ownKeys are the keys in which gateways may differ.
var ownKeys = []string{
	"host", "port", "allowed_hosts", "trusted_proxies", "proxy_header", "proxy_protocol", "web.enabled", "allow_sample_secrets",
	"adapter.driver", "redis_url", "redis_url_file", "redis.", "nats.", "tls.", "metrics.", "console.", "debug.", "log.", "tracing.", "config.", "apps_encryption_key", "apps_encryption_key_file", "apps_decryption_keys", "apps_decryption_keys_file", "memory.", "descriptors.", "publishing.",
	"websocket.", "http.", "shutdown.", "delta_compression.max_total_base_bytes", "apps",
	// These have no effect, or the same effect everywhere.
	"connection_recovery.buffer_ttl_seconds", "connection_recovery.max_total_bytes", "idempotency.enabled", "idempotency.ttl_seconds", "delta_compression.omit_delta_algorithm", "delta_compression.coordination_backend",
}

// TestWeeks10EachKeyIsSharedOrNot: each key must be classified as equal on all gateways or not.
func TestWeeks10EachKeyIsSharedOrNot(t *testing.T) {
	for _, name := range names(keys) {
		shared := slices.Contains(sharedKeys, name)
		own := slices.ContainsFunc(ownKeys, func(k string) bool { return name == k || strings.HasSuffix(k, ".") && strings.HasPrefix(name, k) })
		if !shared && !own {
			t.Errorf("%s: must gateways have it alike?", name)
		}
	}
	for _, name := range sharedKeys {
		if find(keys, name) == nil {
			t.Errorf("%s is no key", name)
		}
	}
}

func TestWeeks10SharedSettings(t *testing.T) {
	base := "apps: [{id: a, key: k, secret: hunter2, webhooks: [{url: 'http://a?t=hunter3', headers: {X: hunter4}}]}]\n"
	of := func(text string) map[string]string {
		return load(t, Sources{File: write(t, "c.yaml", text)}).Shared()
	}
	want := of(base)
	for key, value := range want {
		if strings.Contains(value, "hunter") || strings.Contains(value, "redacted") {
			t.Errorf("%s is %s", key, value)
		}
	}
	for text, changed := range map[string]string{
		base + "port: 7000\nhttp: {max_bodies: 9000000}\nlog: {level: debug}\n":                 "",
		base + "delta_compression: {full_message_interval: 5}\n":                                "delta_compression.full_message_interval",
		base + "presence: {lease: 20s}\n":                                                       "presence.lease",
		strings.Replace(base, "key: k", "key: k, max_event_payload_in_kb: 20", 1):               "apps[a] apps[a].max_event_payload_in_kb",
		strings.Replace(base, "hunter2", "hunter5", 1):                                          "apps[a] apps[a].secret apps[a].webhooks",
		strings.Replace(base, "hunter3", "hunter5", 1):                                          "apps[a] apps[a].webhooks",
		strings.Replace(base, "hunter4", "hunter5", 1):                                          "apps[a] apps[a].webhooks",
		strings.Replace(base, "secret: hunter2", "secret_file: "+write(t, "s", "hunter2\n"), 1): "",
		strings.Replace(base, "key: k", "key: k, channel_history: {x: disabled}", 1):            "apps[a] apps[a].channel_history",
	} {
		var differ []string
		for key, value := range of(text) {
			if want[key] != value {
				differ = append(differ, key)
			}
		}
		slices.Sort(differ)
		if got := strings.Join(differ, " "); got != changed {
			t.Errorf("%s: differs in %q, want %q", text, got, changed)
		}
	}
	// Webhooks without secrets are shown.
	if got := of("apps: [{id: a, key: k, secret: s, webhooks: [{url: 'http://a/b'}]}]")["apps[a].webhooks"]; !strings.Contains(got, "http://a/b") {
		t.Errorf("webhooks are %s", got)
	}
	// Apps that are added or removed are shown as well.
	if got := of(strings.Replace(base, "apps: [", "apps: [{id: b, key: l, secret: s}, ", 1)); got["apps[b]"] == "" || got["apps[a]"] != want["apps[a]"] {
		t.Errorf("another app: %v", got)
	}
}
