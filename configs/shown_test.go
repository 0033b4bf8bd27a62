package configs

import (
	"fmt"
	"strings"
	"testing"
)

// TestTrustErrorsShowNothingOfStructures: readiness shows the errors of a file to everybody, so they must not
// contain secrets.
func TestTrustErrorsShowNothingOfStructures(t *testing.T) {
	for _, text := range []string{
		`nats: {user: {name: gw, password: hunter2}}`,
		`nats: {user: [gw, hunter2]}`,
		`adapter: {driver: {name: redis, url: "redis://:hunter2@h:6379"}}`,
		`redis_url: {url: "redis://:hunter2@h:6379"}`,
		`redis_url: ["redis://:hunter2@h:6379"]`,
		`port: {x: hunter2}`,
		`port: [hunter2]`,
		`host: {a: [hunter2]}`,
		`web: {enabled: {x: hunter2}}`,
		`shutdown_grace_period: {x: hunter2}`,
		`apps: [{id: a, key: {public: k, secret: hunter2}}]`,
		`apps: [{id: a, secret: {value: hunter2}}]`,
		`apps: [{id: a, secret_file: [hunter2]}]`,
		`apps: [{id: a, max_connections: {x: hunter2}}]`,
		`apps: [{id: a, previous_keys: [{key: {secret: hunter2}, secret: s}]}]`,
		`apps: [{id: a, previous_keys: [{key: k, secret: s, until: {x: hunter2}}]}]`,
		`apps: [{id: a, webhooks: [{url: ["https://h/x?token=hunter2"]}]}]`,
		`apps: [{id: a, webhooks: [{url: "https://h/x", batch: [hunter2]}]}]`,
		`apps: [{id: a, webhooks: [{url: "https://h/x", batch: {size: {x: hunter2}}}]}]`,
		`apps: [{id: a, webhooks: [{url: "https://h/x", headers: {X: {file: {v: hunter2}}}}]}]`,
		`apps: [{id: a, channel_history: {x: [hunter2]}}]`,
		`apps: [{id: a, channel_snapshot: {x: [hunter2]}}]`,
		`apps: [{id: a, channel_delta_compression: {x: {algorithm: [hunter2]}}}]`,
	} {
		_, err := loadText(t, text)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error is %v", text, err)
		}
	}
	for _, table := range [][]key{keys, appKeys, webhookKeys, earlierKeys, channelKeys, historyKeys, snapshotKeys} {
		for i := range table {
			for _, v := range []any{map[string]any{"a": "hunter2"}, map[string]any{"hunter2": "a"}, []any{"hunter2"}, []any{map[string]any{"a": "hunter2"}}} {
				if shown := table[i].shown(v); strings.Contains(shown, "hunter2") {
					t.Errorf("%s of %s is shown as %s", fmt.Sprint(v), table[i].name, shown)
				}
			}
		}
	}
}

func TestSnapshotsSayAllThatTheyTake(t *testing.T) {
	for _, entry := range []string{"maybe", "5", "[]"} {
		_, err := loadText(t, `apps: [{id: a, channel_snapshot: {x: `+entry+`}}]`)
		if err == nil || !strings.Contains(err.Error(), `channel_snapshot["x"] must be true, false or a structure`) {
			t.Errorf("%s: got %v", entry, err)
		}
	}
}
