package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const shake = "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"

// frame returns a text frame with a mask of zeros.
func frame(text string) string {
	if len(text) > 125 {
		return string([]byte{0x81, 0xfe, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}) + text
	}
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}

// line returns a log line by its message and by parts of its fields, nil if there is none.
func (s *server) line(message string, fields map[string]string) map[string]any {
	for text := range strings.SplitSeq(s.logs.String(), "\n") {
		var said map[string]any
		if json.Unmarshal([]byte(text), &said) != nil || said["msg"] != message {
			continue
		}
		fits := true
		for name, want := range fields {
			got := fmt.Sprint(said[name])
			fits = fits && said[name] != nil && got != "" && strings.Contains(got, want)
		}
		if fits {
			return said
		}
	}
	return nil
}

// TestWeeks21WhoIsRefusedLeavesATrace refuses clients in each way: a debug line says which client and why,
// one warning stands for many refusals, and a counter that was at 0 from the start has moved.
func TestWeeks21WhoIsRefusedLeavesATrace(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), `mode: production
host: 127.0.0.1
port: 0
adapter: {driver: local}
metrics: {port: 0}
log: {format: json, level: debug}
shutdown: {ready_delay_seconds: 0}
apps:
- {id: app-id, key: app-key, secret: a-secret-of-ours, enable_user_authentication: true, enable_client_messages: true,
   webhooks: [{url: "http://127.0.0.1:1/hook?token=hunter2"}]}
- {id: pages, key: pages-key, secret: a-secret-of-ours, allowed_origins: [https://example.com]}
- {id: "off", key: off-key, secret: a-secret-of-ours, enabled: false}
- {id: full, key: full-key, secret: a-secret-of-ours, max_connections: 1}
`)
	holds := dialWire(t, s.HTTP, fmt.Sprintf(shake, "/app/full-key", ""))
	holds.until("connection_established")

	connection := func(path, headers string) func() {
		return func() { dialWire(t, s.HTTP, fmt.Sprintf(shake, path, headers)).ended() }
	}
	says := func(text, until string) func() {
		return func() {
			w := dialWire(t, s.HTTP, fmt.Sprintf(shake, "/app/app-key", ""))
			w.until("connection_established")
			w.say(frame(text))
			w.until(until)
			_ = w.conn.Close()
		}
	}
	request := func(method, path string, status int) func() {
		return func() {
			req, err := http.NewRequest(method, "http://"+s.HTTP+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("%s %s answers %d, want %d", method, path, resp.StatusCode, status)
			}
		}
	}
	for _, limit := range []string{"handshakes", "events_per_second", "subscriptions", "client_event_rate"} {
		if !served(t, s, "sockudo_limits_total", `limit="`+limit+`"`) {
			t.Errorf("the limit %s is not there before it was crossed", limit)
		}
	}
	type fields = map[string]string
	const connections, subscriptions, messages, requests = "sockudo_connections_refused_total", "sockudo_subscriptions_refused_total",
		"sockudo_messages_refused_total", "sockudo_requests_refused_total"
	for name, c := range map[string]struct {
		do     func()
		metric string
		labels []string
		line   string
		fields fields
		warns  string
	}{
		"an unknown key": {connection("/app/nobody", ""), connections, []string{`code="4001"`, `reason="unknown_key"`},
			"a connection was refused", fields{"key": "nobody", "reason": "unknown_key", "address": "127.0.0.1:"}, "connections are refused"},
		"a wrong origin": {connection("/app/pages-key", "Origin: https://evil.example\r\n"), connections, []string{`code="4009"`, `reason="origin"`},
			"a connection was refused", fields{"app": "pages", "reason": "origin", "address": "127.0.0.1:", "origin": "https://evil.example"}, "connections are refused"},
		"a disabled app": {connection("/app/off-key", ""), connections, []string{`code="4003"`, `reason="app_disabled"`},
			"a connection was refused", fields{"app": "off", "reason": "app_disabled", "address": "127.0.0.1:"}, "connections are refused"},
		"the quota": {connection("/app/full-key", ""), connections, []string{`code="4004"`, `reason="quota"`},
			"a connection was refused", fields{"app": "full", "reason": "quota", "address": "127.0.0.1:"}, "connections are refused"},
		"no path of an app": {connection("/elsewhere/app/app-key?auth=hidden", ""), connections, []string{`code="4005"`, `reason="path"`},
			"a connection was refused", fields{"reason": "path", "path": "/elsewhere/app/app-key", "address": "127.0.0.1:"}, "connections are refused"},
		"an unknown protocol": {connection("/app/app-key?protocol=99", ""), connections, []string{`code="4007"`, `reason="protocol"`},
			"a connection was refused", fields{"reason": "protocol", "address": "127.0.0.1:"}, "connections are refused"},
		"no handshake": {func() {
			dialWire(t, s.HTTP, "GET /app/app-key HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n").until("400")
		}, "sockudo_handshakes_refused_total", []string{`reason="connection"`},
			"a WebSocket handshake was refused", fields{"reason": "connection", "address": "127.0.0.1:"}, "WebSocket handshakes are refused"},
		"a wrong authorization": {says(`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"app-key:00"}}`, "subscription_error"),
			subscriptions, []string{`app_id="app-id"`, `reason="auth"`},
			"a subscription was refused", fields{"app": "app-id", "channel": "private-a", "address": "127.0.0.1:", "reason": "signature"}, "subscriptions are refused"},
		"no name of a channel": {says(`{"event":"pusher:subscribe","data":{"channel":"a b"}}`, "subscription_error"),
			subscriptions, []string{`app_id="app-id"`, `reason="invalid_channel"`},
			"a subscription was refused", fields{"app": "app-id", "channel": "a b", "address": "127.0.0.1:"}, "subscriptions are refused"},
		"a wrong sign-in": {says(`{"event":"pusher:signin","data":{"auth":"app-key:00","user_data":"{\"id\":\"u\"}"}}`, "signin"),
			messages, []string{`app_id="app-id"`, `message="signin"`},
			"a message of a client was refused", fields{"app": "app-id", "message": "signin", "address": "127.0.0.1:", "reason": "signin"}, "messages of clients are refused"},
		"a client event of nobody": {says(`{"event":"client-x","channel":"private-a","data":{}}`, "client events"),
			messages, []string{`app_id="app-id"`, `message="client_event"`},
			"a message of a client was refused", fields{"app": "app-id", "channel": "private-a", "message": "client_event", "address": "127.0.0.1:"}, "messages of clients are refused"},
		"an unknown event": {says(`{"event":"typing","data":{}}`, "typing"),
			messages, []string{`app_id="app-id"`, `message="unknown_event"`},
			"a message of a client was refused", fields{"app": "app-id", "message": "unknown_event", "address": "127.0.0.1:"}, "messages of clients are refused"},
		"a publish without a signature": {request("POST", "/apps/app-id/events", 401), requests, []string{`app_id="app-id"`, `reason="auth_failed"`},
			"a request was refused", fields{"app": "app-id", "request": "events", "address": "127.0.0.1:", "status": "401", "reason": "auth"}, "requests are refused"},
		"a history of an unknown app": {request("GET", "/apps/nobody/channels/room/history", 401), requests, []string{`app_id=""`, `reason="auth_failed"`},
			"a request was refused", fields{"channel": "room", "path": "/apps/nobody", "address": "127.0.0.1:", "status": "401"}, "requests are refused"},
		"a path of nothing": {request("GET", "/apps/app-id/nothing", 404), requests, []string{`app_id=""`, `reason="not_found"`},
			"a request was refused", fields{"path": "/apps/app-id/nothing", "address": "127.0.0.1:", "status": "404"}, "requests are refused"},
	} {
		t.Run(name, func(t *testing.T) {
			holds.say(aliveFrame)
			if !served(t, s, c.metric, c.labels...) {
				t.Errorf("%s%v is not there before anything was refused", c.metric, c.labels)
			}
			before := metric(t, s, c.metric, c.labels...)
			for range 5 {
				c.do()
			}
			eventually(t, "all are counted", func() bool { return metric(t, s, c.metric, c.labels...) == before+5 })
			eventually(t, "a line says who and why", func() bool { return s.line(c.line, c.fields) != nil })
			// The warning has the same fields.
			eventually(t, "a warning says it", func() bool { return s.line(c.warns, c.fields) != nil })
			n := 0
			for text := range strings.SplitSeq(s.logs.String(), "\n") {
				if strings.Contains(text, `"WARN"`) && strings.Contains(text, c.warns) {
					n++
				}
			}
			if n > 15 {
				t.Errorf("%d lines say that %s", n, c.warns)
			}
		})
	}
	// No channel was occupied so far. Now a webhook is due, which its receiver does not accept.
	t.Run("a webhook that nobody takes", func(t *testing.T) {
		if !served(t, s, "sockudo_webhooks_retries_total", `app_id="app-id"`) || !served(t, s, "sockudo_webhooks_dropped_total", `app_id="app-id"`, `reason="retries"`) {
			t.Error("the counters are not there before anything failed")
		}
		w := dialWire(t, s.HTTP, fmt.Sprintf(shake, "/app/app-key", ""))
		w.until("connection_established")
		w.say(frame(`{"event":"pusher:subscribe","data":{"channel":"room"}}`))
		eventually(t, "it was tried six times", func() bool { return metric(t, s, "sockudo_webhooks_retries_total") >= 6 })
		said := s.line("webhooks fail and are tried again", fields{"app": "app-id", "url": "http://127.0.0.1:1/hook", "error": "refused"})
		if said == nil || said["level"] != "WARN" {
			t.Errorf("nobody was warned: %v", said)
		}
	})
	if strings.Contains(s.logs.String(), "hunter2") || strings.Contains(s.logs.String(), "a-secret-of-ours") {
		t.Error("a secret is in the log")
	}
}

// served reports whether a metric is exposed, at whatever value.
func served(t *testing.T, s *server, name string, labels ...string) bool {
	t.Helper()
	for text := range strings.SplitSeq(metrics(t, s), "\n") {
		fits := strings.HasPrefix(text, name+"{")
		for _, l := range labels {
			fits = fits && strings.Contains(text, l)
		}
		if fits {
			return true
		}
	}
	return false
}

func metrics(t *testing.T, s *server) string {
	t.Helper()
	_, text := asPage(t, "GET", "http://"+s.Metrics+"/metrics", "", "", "")
	return text
}
