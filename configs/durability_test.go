package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func loadText(t *testing.T, yaml string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, []byte("mode: development\n"+yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Sources{File: file})
}

func TestDurabilityThatTheRestContradictsIsRefused(t *testing.T) {
	for yaml, says := range map[string]string{
		"durability: replicated": "nats.url",
		"durability: replicated\nnats: {url: [\"nats://a:1\"], replicas: 2}":  "nats.replicas is 2",
		"durability: machine\nnats: {url: [\"nats://a:1\"]}":                  "nats.url",
		"durability: process\nnats: {url: [\"nats://a:1\"], replicas: 3}":     "nats.replicas is 3",
		"durability: machine\nadapter: {driver: local}":                       "adapter.driver",
		"durability: process\nadapter: {driver: redis}\nredis_url: redis://a": "adapter.driver",
		"durability: forever":                           "must be one of",
		"apps: [{id: a, history_replicas: 3}]":          "nats.url",
		"apps: [{id: a, history_retention_seconds: 5}]": "history_retention_seconds",
		"durability: replicated\nnats: {url: [\"nats://a:1\"]}\napps: [{id: a, history_replicas: 1}]":               "history_replicas",
		"adapter: {driver: local}\napps: [{id: a, history_max_messages: 5}]":                                        "adapter.driver local",
		"nats: {embedded: {max_store: 36000000}}\nhistory: {max_bytes: 2000000}\napps: [{id: a}, {id: b}, {id: c}]": "max_store is 36000000, must be 39554432 or more",
		"nats: {embedded: {max_store: 16777216}}\nhistory: {max_bytes: 1048576}":                                    "max_store is 16777216, must be a whole number of bytes from 33554432 up",
		"nats: {embedded: {max_store: 2000000000}}\napps: [{id: a, webhooks: [{url: \"http://a\"}]}]":               "webhooks 1073741824",
		"apps: [{id: a, history_max_bytes: 1125899906842624}]":                                                      "nats.embedded.max_store",
		"metrics: {prefix: \"a b\"}":   "metrics.prefix is",
		"path_prefix: \"/a?b\"":        "path_prefix is",
		"path_prefix: \"/a/\"":         "path_prefix is",
		"nats: {prefix: \"Staging.\"}": "nats.prefix is",
		"history: {max_messages: 0}":   "history.max_messages is 0",
		"history: {max_bytes: 0}":      "history.max_bytes is 0",
		"history: {max_bytes: 1}":      "must be 1048576 or more",
		"apps: [{id: a, max_event_payload_in_kb: 1024, history_max_bytes: 2000000}]": "must be 4194304 or more",
		"redis: {prefix: \"a{b\"}":     "redis.prefix",
		"redis: {tls: {cert_file: a}}": "redis.tls.key_file",
	} {
		if _, err := loadText(t, yaml); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want an error that names %q", yaml, err, says)
		}
	}
}

func TestDurabilityDecidesAboutCopies(t *testing.T) {
	c, err := loadText(t, "durability: replicated\nnats: {url: [\"nats://a:1\"]}")
	if err != nil || c.NATS.Replicas != 3 {
		t.Errorf("replicated: %v copies, %v", c.NATS.Replicas, err)
	}
}

func TestAppsHaveRetentionOfTheirOwn(t *testing.T) {
	c, err := loadText(t, "history: {max_messages: 7}\napps:\n- {id: a, history_max_bytes: -1, history_retention_seconds: 600}\n- {id: b, history_max_messages: 9}")
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Apps[0], c.Apps[1]
	if a.MaxMessages != 7 || a.MaxBytes != -1 || a.Retention != 10*time.Minute {
		t.Errorf("the first app has %d, %d, %v", a.MaxMessages, a.MaxBytes, a.Retention)
	}
	if b.MaxMessages != 9 || b.MaxBytes != 1<<30 || b.Retention != 24*time.Hour {
		t.Errorf("the second app has %d, %d, %v", b.MaxMessages, b.MaxBytes, b.Retention)
	}
}

func TestChangedKeysAreNamed(t *testing.T) {
	one, err := loadText(t, "port: 1\nhistory: {max_messages: 7}\napps: [{id: a}, {id: b, secret: x}]")
	if err != nil {
		t.Fatal(err)
	}
	other, err := loadText(t, "port: 2\nhistory: {max_messages: 9}\napps: [{id: a, history_max_bytes: 5000000}, {id: b, secret: y, history_max_messages: 7}]")
	if err != nil {
		t.Fatal(err)
	}
	taken, retention, rest := one.Changed(other)
	if got := strings.Join(retention, " "); got != "history.max_messages apps[0].history" {
		t.Errorf("retention: %s", got)
	}
	if got := strings.Join(rest, " "); got != "port" {
		t.Errorf("the rest: %s", got)
	}
	if got := strings.Join(taken, " "); got != "apps[1].secret" {
		t.Errorf("taken: %s", got)
	}
	if reading, retention, rest := one.Changed(one); len(reading)+len(retention)+len(rest) > 0 {
		t.Errorf("a configuration differs from itself in %v %v", retention, rest)
	}
}
