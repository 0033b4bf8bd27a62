package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestApplicationWithStockLibraries covers the checklist lines in italics: an application with pusher-js,
// Laravel Echo and the official server SDK, in Node and in Chromium (WS-27, SUB-11, AUTH-13, AUTH-14, PR-18,
// CE-12, US-15, HS-11).
func TestApplicationWithStockLibraries(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]string{"node": "node", "browser": "browser", "node on redis": "node"} {
		t.Run(name, func(t *testing.T) {
			dir, own := t.TempDir(), fault.Ports(t, 1)[0]
			yaml := config(dir)
			if name != where {
				yaml = onRedis("redis", redisserver.Start(t).URL())
			}
			s := serve(t, dir, yaml+fmt.Sprintf(`
apps:
  - id: app-id
    key: app-key
    secret: app-secret
    enable_client_messages: true
    enable_user_authentication: true
    enable_watchlist_events: true
    enable_subscription_count: true
    webhooks: [{url: "http://127.0.0.1:%d/hook", batch: true}]
`, own))
			host, port, _ := strings.Cut(s.HTTP, ":")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "application.mjs", where, host, port, fmt.Sprint(own))
			cmd.Dir = filepath.Join(root(), "test", "interop")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, s.logs)
			}
			want := []string{
				`{"added":"u2","members":{"count":2,"me":{"id":"u2","info":{"name":"N u2"}},"u1":{"id":"u1","info":{"name":"N u1"}}},` +
					`"clientEvent":{"data":{"on":true},"meta":{"user_id":"u2"}},"removed":"u2","global":1,` +
					`"denied":{"type":"AuthError","status":401},"encrypted":{"text":"secret"},"counts":1,"online":["u2"],` +
					`"toUser":{"hello":"u1"},"offline":["u2"],"here":[{"name":"N e1"}],"joining":{"name":"N e2"},` +
					`"listened":{"text":"7"},"whispered":{"from":"e2"},"leaving":{"name":"N e2"},"stranger":"disconnected"}`,
				`{"one":{"occupied":true,"subscription_count":1,"user_count":1},"users":[{"id":"7"}],"listed":["presence-query"],` +
					`"batch":[{},{"user_count":1}]}`,
				`{"hooks":["channel_occupied","channel_vacated","client_event","member_added","member_removed","subscription_count"]}`,
			}
			if got := strings.TrimSpace(string(out)); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}
