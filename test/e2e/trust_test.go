package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// asPage sends a request as a browser would for a page: with a Host and an Origin, if they are given.
func asPage(t *testing.T, method, target, host, origin, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
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

// TestTrust14ADevelopmentServerIsForItsMachine tries what a page of another site can do with the published
// secret against the server that the README starts.
func TestTrust14ADevelopmentServerIsForItsMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, strings.Replace(config(dir), "port: -1}\nlog", "port: 0}\nlog", 1))
	if s.Metrics == "" {
		t.Fatal("there are no metrics")
	}
	const path = "/apps/app-id/channels/room/history"
	params := url.Values{"auth_key": {appKey}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}, "auth_version": {"1.0"}}
	params.Set("auth_signature", pusher.SignRequest(appSecret, http.MethodGet, path, params))
	history := "http://" + s.HTTP + path + "?" + params.Encode()
	for _, c := range []struct {
		name, target, host, origin string
		status                     int
	}{
		{"history for a script", history, "", "", 200},
		{"history for the developer's page", history, "localhost:6001", "http://localhost:3000", 200},
		{"history by a name that leads here", history, "evil.example:6001", "", 403},
		{"history for another page", history, "", "https://evil.example", 403},
		{"the console page", "http://" + s.HTTP + "/", "", "", 200},
		{"the console page by a name that leads here", "http://" + s.HTTP + "/", "evil.example", "", 403},
		{"unsigned by a name that leads here", "http://" + s.HTTP + "/apps/app-id/channels", "evil.example", "", 403},
		{"metrics", "http://" + s.Metrics + "/metrics", "", "", 200},
		{"metrics by a name that leads here", "http://" + s.Metrics + "/metrics", "evil.example:9601", "", 403},
		{"readiness by any name", "http://" + s.HTTP + "/ready", "evil.example", "", 200},
	} {
		if status, text := asPage(t, "GET", c.target, c.host, c.origin, ""); status != c.status {
			t.Errorf("%s: got %d %.200s, want %d", c.name, status, text, c.status)
		}
	}
	for _, c := range []struct{ host, origin, says string }{
		{"127.0.0.1", "", "connection_established"},
		{"localhost:6001", "http://localhost:3000", "connection_established"},
		{"127.0.0.1", "https://evil.example", "4009"},
		{"evil.example:6001", "http://evil.example:6001", "4009"},
		{"127.0.0.1", "null", "4009"},
	} {
		text := strings.Replace(handshake, "Host: localhost\r\n", "Host: "+c.host+"\r\n", 1)
		if c.origin != "" {
			text = strings.Replace(text, "\r\nUpgrade", "\r\nOrigin: "+c.origin+"\r\nUpgrade", 1)
		}
		dialWire(t, s.HTTP, text).until(c.says)
	}
}

// TestTrust14TheEmbeddedLogIsDeafToPages: a page can send an HTTP request with any body to the NATS port,
// which has no users. The server closes such a connection at the first line, whatever the method.
func TestTrust14TheEmbeddedLogIsDeafToPages(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), config(t.TempDir()))
	by := newBystander(t, s)
	const order = "CONNECT {}\r\nPUB ch.app-id.calm 4\r\nevil\r\nPING\r\n"
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "HEAD", "DELETE", "OPTIONS", "PUB", "SUB"} {
		w := dialWire(t, s.NATS, fmt.Sprintf("%s / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\nContent-Length: %d\r\n\r\n%s", method, len(order), order))
		w.ended()
		if strings.Contains(string(w.seen), "PONG") {
			t.Errorf("%s: the log obeyed: %q", method, w.seen)
		}
	}
	by.undisturbed(t) // the client would get the page's event first
}

// TestTrust13MetricsElsewhereNeedAToken: a server with metrics on another address than loopback does not
// start without a token.
func TestTrust13MetricsElsewhereNeedAToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml := func(metrics string) string {
		return fmt.Sprintf("mode: production\nhost: 127.0.0.1\nport: 0\nadapter: {driver: local}\nmetrics: {%s}\nlog: {format: json}\n"+
			"apps: [{id: app-id, key: app-key, secret: a-secret-of-ours}]\n", metrics)
	}
	bare := launch(t, dir, yaml("host: 0.0.0.0, port: 0"))
	<-bare.done
	if bare.err == nil || !strings.Contains(bare.logs.String(), "metrics.token") {
		t.Errorf("it ended with %v and said %s", bare.err, bare.logs)
	}
	s := serve(t, t.TempDir(), yaml("host: 0.0.0.0, port: 0, token: t0ken-of-the-metrics"))
	_, port, _ := strings.Cut(strings.TrimPrefix(s.Metrics, "[::]"), ":")
	target := "http://127.0.0.1:" + port + "/metrics"
	if status, text := asPage(t, "GET", target, "", "", ""); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d %.100s", status, text)
	}
	out, err := exec.Command("curl", "-fsS", "-H", "Authorization: Bearer t0ken-of-the-metrics", target).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sockudo_") {
		t.Errorf("with the token: %v %.100s", err, out)
	}
	if strings.Contains(s.logs.String(), "t0ken") {
		t.Error("the token is in the log")
	}
}

// TestTrust12ProxiesOfTheConfiguration: the configuration decides which proxies are trusted, and whether they
// must send a PROXY header.
func TestTrust12ProxiesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	const status = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	const header = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 6001\r\n"
	for _, c := range []struct{ keys, begin, says string }{
		{"trusted_proxies: [127.0.0.0/8]\nproxy_protocol: required", header, " 200 "},
		{"trusted_proxies: [127.0.0.0/8]\nproxy_protocol: required", "", ""},
		{"trusted_proxies: 127.0.0.1", header, " 200 "},
		{"trusted_proxies: 127.0.0.1", "", " 200 "},
		{"trusted_proxies: 127.0.0.1\nproxy_protocol: off", header, " 400 "},
		{"trusted_proxies: [10.0.0.0/8]", header, " 400 "},
		{"", header, " 400 "},
	} {
		s := launchPlain(t, c.keys)
		w := dialWire(t, s.HTTP, c.begin+status)
		w.ended()
		if said := string(w.seen); !strings.Contains(said, c.says) || c.says == "" && strings.Contains(said, " 200 ") {
			t.Errorf("%q and %q: it said %q, want %q", c.keys, c.begin, said, c.says)
		}
		s.stop()
	}
}

// launchPlain starts a server with the log in memory. It does not ask /ready, because not all of these
// servers would answer it.
func launchPlain(t *testing.T, keys string) *server {
	t.Helper()
	s := launch(t, t.TempDir(), "mode: production\nhost: 127.0.0.1\nport: 0\nadapter: {driver: local}\nmetrics: {port: -1}\nlog: {format: json}\n"+
		"apps: [{id: app-id, key: app-key, secret: a-secret-of-ours}]\n"+keys+"\n")
	eventually(t, "the server serves", func() bool {
		s.find()
		return s.HTTP != ""
	})
	return s
}
