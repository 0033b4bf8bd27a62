package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// TestTrust15WhoLeftStaysAway has a member leave and waits until the server has dropped everything that it
// keeps for a limited time (in a long run). Then it kills the server with kill -9 and restarts it. The member
// never appears again, and no webhook is repeated.
func TestTrust15WhoLeftStaysAway(t *testing.T) {
	t.Parallel()
	age, look := 12*time.Second, 12*time.Second
	if fault.Long() {
		age, look = 150*time.Second, 30*time.Second
	}
	var mu sync.Mutex
	told := map[string]int{}
	count := func(name string) int {
		mu.Lock()
		defer mu.Unlock()
		return told[name]
	}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Events []struct{ Name, Channel string }
		}
		text, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(text, &body); err != nil {
			t.Errorf("webhook %s: %v", text, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range body.Events {
			told[e.Name]++
		}
	}))
	t.Cleanup(receiver.Close)
	dir := t.TempDir()
	yaml := config(dir, strings.Replace(userAuthApp, "enable_user_authentication: true",
		fmt.Sprintf(`enable_user_authentication: true, webhooks: [{url: %q}]`, receiver.URL), 1))
	s := serve(t, dir, yaml)
	names := []string{"channel_occupied", "member_added", "member_removed", "channel_vacated"}
	_ = member(t, s.HTTP, "presence-ghosts").conn.Close()
	for _, name := range names {
		eventually(t, name+" is told", func() bool { return count(name) == 1 })
	}
	pass := func(d time.Duration, check func()) {
		began := time.Now()
		for tick := time.NewTicker(100 * time.Millisecond); time.Since(began) < d; <-tick.C {
			check()
		}
	}
	pass(age, func() {})
	s.kill()
	s = serve(t, dir, yaml)
	pass(look, func() {
		for path, none := range map[string]string{"/channels": `{"channels":{}}`, "/channels/presence-ghosts/users": `{"users":[]}`} {
			resp, err := http.Get("http://" + s.HTTP + "/apps/4711" + path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || strings.TrimSpace(string(text)) != none {
				t.Fatalf("%s answers %s, %v", path, text, err)
			}
		}
	})
	for _, name := range names {
		if n := count(name); n != 1 {
			t.Errorf("%s was told %d times", name, n)
		}
	}
}
