package configs

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// ineffective holds the keys that never change anything, each with the words in the reference that say so.
var ineffective = map[string]string{
	"idempotency.enabled":                    "cannot be switched off",
	"delta_compression.coordination_backend": "Accepted and ignored",
	"delta_compression.omit_delta_algorithm": "Accepted and ignored",
}

// effects returns values that a key accepts and that are not its default, with the settings they need, for
// keys where another value of the kind is not enough.
func effects(t *testing.T, mode string) map[string]string {
	t.Helper()
	pem, secret := write(t, "x.pem", "x"), write(t, "secret", "nats-and-other-secrets-of-32-bytes-and-more\n")
	address := write(t, "address", "redis://h:1\n")
	out := map[string]string{
		"host": "host: 127.0.0.2", "port": "port: 1", "path_prefix": "path_prefix: /a", "allowed_hosts": "allowed_hosts: [a.example]",
		"trusted_proxies": "trusted_proxies: [10.0.0.1]", "proxy_protocol": "proxy_protocol: 'off'", "web.enabled": "web.enabled: false\nconsole.enabled: false",
		"tls.cert_file":          "tls: {cert_file: " + pem + ", key_file: k}",
		"tls.key_file":           "tls: {cert_file: c, key_file: " + pem + "}",
		"tls.http_port":          "tls: {cert_file: c, key_file: k, http_port: 80}",
		"tls.acme.domains":       "tls: {acme: {domains: [a.example]}}",
		"tls.acme.email":         "tls: {acme: {domains: [a.example], email: a@b.example}}",
		"tls.acme.ca_file":       "tls: {acme: {domains: [a.example], ca_file: " + pem + "}}",
		"adapter.driver":         "adapter.driver: redis",
		"durability":             "durability: machine",
		"redis.tls.cert_file":    "redis.tls: {cert_file: a, key_file: b}",
		"redis.tls.key_file":     "redis.tls: {cert_file: a, key_file: b}",
		"nats.tls.cert_file":     "nats.tls: {cert_file: a, key_file: b}",
		"nats.tls.key_file":      "nats.tls: {cert_file: a, key_file: b}",
		"nats.url":               "nats.url: [nats://a]",
		"nats.user":              "nats: {user: a, password: b}",
		"nats.password":          "nats: {user: a, password: b}",
		"nats.password_file":     "nats: {user: a, password_file: " + secret + "}",
		"nats.prefix":            "nats.prefix: a.",
		"nats.replicas":          "nats: {url: [nats://a], replicas: 3}",
		"nats.embedded.host":     "nats.embedded.host: 127.0.0.2",
		"redis_url":              "redis_url: redis://a",
		"redis_url_file":         "redis_url_file: " + address,
		"history.max_messages":   "history.max_messages: 5",
		"http.max_bodies":        "http.max_bodies: 100000000",
		"metrics.host":           "metrics.host: 127.0.0.2",
		"metrics.token":          "metrics.token: a",
		"metrics.prefix":         "metrics.prefix: a",
		"tracing.endpoint":       "tracing.endpoint: http://127.0.0.1:4318",
		"tracing.sample_ratio":   "tracing.sample_ratio: 0.5",
		"console.host":           "console: {enabled: true, host: 127.0.0.2}",
		"console.port":           "console: {enabled: true, port: 1, token: abcdefghijklmnop}",
		"console.enabled":        "console.enabled: " + fmt.Sprint(mode == "production"),
		"console.token":          "console.token: abcdefghijklmnop",
		"debug.pprof":            "debug.pprof: 127.0.0.1:1",
		"apps_encryption_key":    "apps_encryption_key: " + strings.Repeat("a", 32),
		"apps_decryption_keys":   "apps_encryption_key: " + strings.Repeat("a", 32) + "\napps_decryption_keys: " + strings.Repeat("b", 32),
		"memory.limit":           "memory.limit: 100000000",
		"idempotency.enabled":    "idempotency.enabled: false",
		"tls.acme.directory_url": "tls: {acme: {domains: [a.example], directory_url: https://a.example}}",
		"apps":                   "apps: [{id: other, key: k, secret: s}]",
	}
	out["shutdown.ready_delay_seconds"] = "shutdown.ready_delay_seconds: 7"
	out["mode"] = "mode: " + map[string]string{"production": "development", "development": "production"}[mode]
	if mode == "production" {
		out["web.enabled"] = "web.enabled: true"
	}
	for _, total := range []string{"delta_compression.max_total_base_bytes", "connection_recovery.max_total_bytes", "websocket.total_queue_bytes", "websocket.total_message_bytes"} {
		out[total] = total + ": 2097152"
	}
	for _, file := range []string{"metrics.token_file", "console.token_file", "nats.token_file", "apps_encryption_key_file"} {
		out[file] = file + ": " + secret
	}
	out["apps_decryption_keys_file"] = out["apps_encryption_key"] + "\napps_decryption_keys_file: " + secret
	return out
}

// TestEveryKeyChangesWhatIsBuilt gives every key another value than its default, in both modes: the
// configuration from which a server is built must then differ, and not only its printed form.
func TestEveryKeyChangesWhatIsBuilt(t *testing.T) {
	built := func(mode, more string) (Config, error) {
		text := "apps: [{id: a, key: k, secret: s}]\n"
		if strings.HasPrefix(more, "apps:") {
			text = ""
		}
		if !strings.HasPrefix(more, "mode:") {
			text += "mode: " + mode + "\n"
		}
		if !strings.HasPrefix(more, "host:") {
			text += "host: 127.0.0.1\n"
		}
		c, err := Load(Sources{File: write(t, "c.yaml", text+more)})
		if err != nil {
			return Config{}, err
		}
		out := *c
		// These are only for printing and for queries.
		out.values, out.derived, out.notYet = nil, nil, nil
		return out, nil
	}
	for _, mode := range []string{"production", "development"} {
		plain, err := built(mode, "")
		if err != nil {
			t.Fatal(err)
		}
		own := effects(t, mode)
		for i := range keys {
			k := &keys[i]
			more := own[k.name]
			if more == "" {
				value := another(k)
				if k.development != nil && mode == "development" {
					value = fmt.Sprint(k.development != true)
				}
				more = k.name + ": " + value
			}
			got, err := built(mode, more)
			switch {
			case k.min != 0 && k.min == k.max:
				if err == nil || !strings.Contains(err.Error(), k.name) {
					t.Errorf("%s: another value than the only one gives %v", k.name, err)
				}
			case err != nil:
				t.Errorf("%s in %s mode: %v", more, mode, err)
			case ineffective[k.name] != "":
				if !strings.Contains(k.text, ineffective[k.name]) {
					t.Errorf("%s has no effect, and the reference does not say %q", k.name, ineffective[k.name])
				}
			case reflect.DeepEqual(plain, got):
				t.Errorf("%s changes nothing in %s mode", more, mode)
			}
		}
	}
}

// TestEveryKeyOfAnAppChangesWhatIsBuilt does the same for the entries of apps.
func TestEveryKeyOfAnAppChangesWhatIsBuilt(t *testing.T) {
	own := map[string]string{
		"id": "b", "key": "l", "secret": "u", "secret_file": write(t, "secret", "u"), "previous_keys": "[{key: l, secret: u}]",
		"channel_delta_compression": "{c: disabled}", "channel_history": "{c: disabled}", "channel_snapshot": "{c: true}",
		"webhooks": "[{url: 'http://a'}]", "allowed_origins": "[a.example]", "history_max_messages": "5", "history_max_bytes": "100000000",
		"history_retention_seconds": "100", "enable_watchlist_events": "true, enable_user_authentication: true",
	}
	for _, mode := range []string{"production", "development"} {
		built := func(more string) App {
			text := "id: a, key: k, secret: s"
			for _, part := range []string{"id", "key", "secret"} {
				if strings.HasPrefix(more, part+":") || part == "secret" && strings.HasPrefix(more, "secret_file:") {
					text = strings.NewReplacer(part+": "+map[string]string{"id": "a", "key": "k", "secret": "s"}[part], more).Replace(text)
					more = ""
				}
			}
			if more != "" {
				text += ", " + more
			}
			nats := ""
			if strings.HasPrefix(more, "history_replicas") {
				nats = "nats.url: nats://a\n"
			}
			c, err := Load(Sources{File: write(t, "c.yaml", "mode: "+mode+"\nhost: 127.0.0.1\n"+nats+"apps: [{"+text+"}]\n")})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return c.Apps[0]
		}
		plain := built("")
		signsIn := built("enable_user_authentication: true")
		for i := range appKeys {
			k := &appKeys[i]
			value, than := own[k.name], plain
			if value == "" {
				value = another(k)
			}
			if k.name == "enable_watchlist_events" {
				than = signsIn
			}
			if reflect.DeepEqual(than, built(k.name+": "+value)) {
				t.Errorf("%s: %s changes nothing in %s mode", k.name, value, mode)
			}
		}
	}
}
