package e2e

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestTrust07OneAppCannotStopAnother starts a server over an app's stream that it refuses to touch. The other
// app works, /ready is 200 and names the bad app, and requests for the bad app get 503.
func TestTrust07OneAppCannotStopAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := "{id: app-id, key: app-key, secret: app-secret, enable_user_authentication: true}"
	s := serve(t, dir, config(dir, "apps: ["+good+"]"))
	out, err := exec.Command(tools.nats, "--timeout", "2m", "-s", s.NATS, "stream", "add", "CH_bad", "--subjects", "somewhere.else", "--defaults").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.stop()

	s = serve(t, dir, config(dir, "apps: ["+good+", {id: bad, key: bad-key, secret: bad-secret, enable_user_authentication: true, max_connections: 5}]"))
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	if err := publishSigned(client, s.HTTP, "room", "e", "1"); err != nil {
		t.Errorf("the good app suffers: %v", err)
	}
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+s.HTTP+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, text := ask(http.MethodGet, "/ready", ""); status != http.StatusOK || !strings.Contains(text, "CH_bad exists and differs") {
		t.Errorf("readiness is %d %s", status, text)
	}
	if status, text := ask(http.MethodPost, "/apps/bad/events", `{"name":"e","channel":"c","data":"1"}`); status != http.StatusServiceUnavailable {
		t.Errorf("publishing to the bad app gave %d %s", status, text)
	}
	// The app works as soon as the stream is out of the way.
	if out, err := exec.Command(tools.nats, "--timeout", "2m", "-s", s.NATS, "stream", "rm", "-f", "CH_bad").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "the bad app is good", func() bool {
		status, _ := ask(http.MethodPost, "/apps/bad/events", `{"name":"e","channel":"c","data":"1"}`)
		_, text := ask(http.MethodGet, "/ready", "")
		return status == http.StatusOK && strings.Contains(text, `"problems":[]`)
	})
}
