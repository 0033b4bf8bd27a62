package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/configs"
)

// TestWhatTheCheckLetsThroughHasRoom: a log of the least size that the configuration check accepts has room
// for all streams. One byte less is refused with the key and the needed size.
func TestWhatTheCheckLetsThroughHasRoom(t *testing.T) {
	hooks := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{url: "http://127.0.0.1:1/%d"}`, i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	for name, apps := range map[string]string{
		"no app":              "apps: []\n",
		"two apps":            "apps: [{id: a, key: a, secret: s}, {id: b, key: b, secret: s, history_max_bytes: 4194304}]\n",
		"no bound":            "apps: [{id: a, key: a, secret: s, history_max_bytes: -1}]\n",
		"a webhook":           "apps: [{id: a, key: a, secret: s, webhooks: " + hooks(1) + "}]\n",
		"hooks, large events": "apps: [{id: a, key: a, secret: s, history_max_bytes: 4194304, max_event_payload_in_kb: 1024, webhooks: " + hooks(15) + "}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			load := func(room int64) (*configs.Config, error) {
				return configs.Load(configs.Sources{File: writeFile(t, "c.yaml", fmt.Sprintf(`host: 127.0.0.1
history: {max_bytes: 1048576}
apps_encryption_key: a-key-for-the-apps-of-the-cluster-in-tests
nats: {embedded: {port: -1, max_store: %d, store_dir: %q}}
`, room, t.TempDir())+apps)})
			}
			c, err := load(1 << 40)
			if err != nil {
				t.Fatal(err)
			}
			least := c.SetAside()
			if _, err := load(least - 1); err == nil || !strings.Contains(err.Error(), "nats.embedded.max_store") || !strings.Contains(err.Error(), fmt.Sprint(least)) {
				t.Errorf("%d bytes, and %d are needed: %v", least-1, least, err)
			}
			if c, err = load(least); err != nil {
				t.Fatal(err)
			}
			b, err := openBackend(t.Context(), c, 64, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("with %d bytes: %v", least, err)
			}
			defer func() { _ = b.close() }()
			info, err := jetStreamAt(t, b.natsURL).AccountInfo(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if set := int64(info.ReservedStore); set != least-16<<20 {
				t.Errorf("the server sets %d bytes aside, want %d and 16 MiB for the buckets", set, least)
			}
		})
	}
}
