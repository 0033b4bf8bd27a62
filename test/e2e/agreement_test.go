package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicehq/sluice/test/redisserver"
)

// differences returns the differences in settings that a gateway lists in /ready. They must not change the
// status of /ready.
func differences(t *testing.T, s *server) string {
	t.Helper()
	status, text := asPage(t, "GET", "http://"+s.HTTP+"/ready", "", "", "")
	var said struct {
		Differ []string `json:"settings_differ"`
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil || status != http.StatusOK {
		t.Fatalf("/ready answers %d %s %v", status, text, err)
	}
	return strings.Join(said.Differ, "\n")
}

// TestWeeks10GatewaysNameWhatTheyHaveOtherwise runs two gateways on one log: each lists in /ready the
// settings in which they differ.
func TestWeeks10GatewaysNameWhatTheyHaveOtherwise(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]func() string{
		"nats":  func() string { return gatewayOn(natsNode(t)) },
		"redis": func() string { return onRedis("redis", redisserver.Start(t).URL()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := yaml()
			one := base + "delta_compression: {full_message_interval: 5}\napps: [{id: app-id, key: app-key, secret: app-secret}]\n"
			two := base + "delta_compression: {full_message_interval: 10}\nwebsocket_max_payload_kb: 32\n" +
				"apps: [{id: app-id, key: app-key, secret: hunter22, max_event_payload_in_kb: 20}, {id: more, key: more, secret: hunter23}]\n"
			a, b := serve(t, t.TempDir(), one), serve(t, t.TempDir(), two)
			_, portA, _ := net.SplitHostPort(a.HTTP)
			_, portB, _ := net.SplitHostPort(b.HTTP)
			keys := []string{"delta_compression.full_message_interval", "websocket_max_payload_kb", "apps[app-id].secret", "apps[app-id].max_event_payload_in_kb", "apps[more]"}
			for s, want := range map[*server]string{a: "full_message_interval is 5", b: "full_message_interval is 10"} {
				eventually(t, "the differences are named", func() bool { return strings.Count(differences(t, s), "\n") == len(keys)-1 })
				text := differences(t, s)
				for _, k := range append(keys, want, ":"+portA, ":"+portB, "is 32", "is 64", "is 20", "is 10") {
					if !strings.Contains(text, k) {
						t.Errorf("%s is not in\n%s", k, text)
					}
				}
				for _, k := range keys {
					eventually(t, "they are in the log", func() bool { return strings.Contains(s.logs.String(), `"difference":"`+k+" ") })
				}
				if strings.Contains(text+s.logs.String(), "hunter") || strings.Contains(text, "app-secret") || strings.Contains(text, "digest") {
					t.Errorf("a secret is in\n%s", text)
				}
			}

			// A setting that a running gateway reloads is compared as well.
			hangup := strings.Replace(one, "key: app-key", `key: app-key, channel_history: {"x*": disabled}`, 1)
			if err := os.WriteFile(filepath.Join(a.dir, "sluice.yaml"), []byte(hangup), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*server{a, b} {
				eventually(t, "the new one is named", func() bool { return strings.Contains(differences(t, s), "apps[app-id].channel_history") })
			}

			// A gateway that is gone does not count, and one that agrees is not named.
			if name == "nats" {
				b.kill()
			} else {
				b.stop()
			}
			eventually(t, "nobody is left to differ from", func() bool { return differences(t, a) == "" })
			c := serve(t, t.TempDir(), hangup)
			eventually(t, "both have been compared", func() bool {
				return strings.Contains(a.logs.String(), "the settings of all gateways agree again") && differences(t, c) == ""
			})
			for _, s := range []*server{a, b} {
				if n := strings.Count(s.logs.String(), `"difference":"websocket_max_payload_kb`); n != 1 {
					t.Errorf("it is %d times in the log", n)
				}
			}
			if strings.Contains(c.logs.String(), "settings differ") || differences(t, a) != "" {
				t.Errorf("gateways that agree differ: %s\n%s", differences(t, a), c.logs)
			}
		})
	}
}
