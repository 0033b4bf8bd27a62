package gateway_test

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// line is a raw client connection.
type line struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (r *running) dial(text string) *line {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	l := newLine(r.t, conn)
	l.say(text)
	return l
}

func newLine(t *testing.T, conn net.Conn) *line {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &line{t, conn, bufio.NewReader(conn)}
}

// with returns the node for use in a subtest.
func (r *running) with(t *testing.T) *running { return &running{Node: r.Node, t: t} }

func (l *line) say(text string) {
	// The server may close the connection in the middle of a request that it refuses.
	_, _ = io.WriteString(l.conn, text)
}

// answer reads the next response.
func (l *line) answer() (*http.Response, string) {
	l.t.Helper()
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		l.t.Fatalf("no answer came: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatalf("the answer broke off: %v", err)
	}
	return resp, string(text)
}

// ended waits until the server has closed the connection.
func (l *line) ended() {
	l.t.Helper()
	_, err := io.Copy(io.Discard, l.in)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		l.t.Fatal("the connection was not closed")
	}
}

func sumOf(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// signed returns the target of a signed request of an app; change may edit the parameters before they are
// signed.
func signed(appID, method, path string, change func(url.Values)) string {
	q := url.Values{"auth_key": {appID + "-key"}, "auth_version": {"1.0"}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}}
	if change != nil {
		change(q)
	}
	path = "/apps/" + appID + path
	q.Set("auth_signature", pusher.SignRequest(appID+"-secret", method, path, q))
	return path + "?" + q.Encode()
}

func withSum(sums ...string) func(url.Values) {
	return func(q url.Values) { q["body_md5"] = sums }
}

// runApps runs a node with two enabled apps and a disabled one.
func runApps(t *testing.T, change func(*gateway.Options)) (*running, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	r := run(t, func(o *gateway.Options) {
		log, err := memory.New(memory.Options{Apps: []string{"app", "other", "off"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		one := func(id string) *app.App {
			return &app.App{
				ID: id, Key: id + "-key", Secret: app.Secret(id + "-secret"), Enabled: id != "off",
				HistoryEnabled: true, Limits: app.DefaultLimits,
			}
		}
		o.Apps, o.Log, o.Registry = app.NewRegistry(one("app"), one("other"), one("off")), log, registry
		if change != nil {
			change(o)
		}
	})
	return r, registry
}

// gauge returns the sum of a metric over the series with these labels, each name=value.
func gauge(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetName()+"="+l.GetValue()] = true
			}
			wanted := true
			for _, l := range labels {
				wanted = wanted && has[l]
			}
			if wanted {
				total += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return total
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		case <-tick.C:
		}
	}
}

const greeting = `{"name":"n","channel":"c","data":"d"}`

// TestTrust10NobodyWaitsForTheBodyOfAStranger announces bodies that never come. A request with a wrong
// signature is answered at once and without reserving room. Before, bodies were read first, and 200 sockets
// held 176 MB for half a minute.
func TestTrust10NobodyWaitsForTheBodyOfAStranger(t *testing.T) {
	t.Parallel()
	r, registry := runApps(t, func(o *gateway.Options) { o.BodyTimeout = time.Hour })
	old := func(q url.Values) {
		withSum(sumOf(greeting))(q)
		q.Set("auth_timestamp", "1000000000")
	}
	foreign := strings.Replace(signed("app", "POST", "/events", withSum(sumOf(greeting))), "app-key", "other-key", 1)
	cases := []struct {
		name, method, target string
		status               int
		says                 string
	}{
		{"an unknown app", "POST", signed("nobody", "POST", "/events", withSum(sumOf(greeting))), 401, "auth_key"},
		{"no signature", "POST", "/apps/app/events", 401, "auth_key"},
		{"the key of another app", "POST", foreign, 401, "auth_key"},
		{"a wrong signature", "POST", signed("app", "POST", "/batch_events", withSum(sumOf(greeting))) + "0", 401, "auth_signature"},
		{"a signature of another path", "POST", strings.Replace(signed("app", "POST", "/events", withSum(sumOf(greeting))), "/events", "/batch_events", 1), 401, "auth_signature"},
		{"an old signature", "POST", signed("app", "POST", "/events", old), 401, "auth_timestamp"},
		{"no sum of the body", "POST", signed("app", "POST", "/events", nil), 401, "body_md5"},
		{"two sums of the body", "POST", signed("app", "POST", "/events", withSum(sumOf(greeting), sumOf("x"))), 401, "body_md5"},
		{"another spelling beside the sum", "POST", signed("app", "POST", "/events", func(q url.Values) {
			withSum(sumOf(greeting))(q)
			q.Set("Body_MD5", sumOf("x"))
		}), 401, "body_md5"},
		{"a body of a query without a sum", "GET", signed("app", "GET", "/channels/c/history", nil), 401, "body_md5"},
		{"an app that is switched off", "POST", signed("off", "POST", "/events", withSum(sumOf(greeting))), 403, "disabled"},
		{"another method", "PUT", signed("app", "PUT", "/events", withSum(sumOf(greeting))), 405, "POST"},
		{"a query that cannot be read", "POST", "/apps/app/events?a=%zz", 400, "query"},
		{"an unknown path of the API", "POST", "/apps/app/nothing", 404, ""},
		{"a path of nobody", "POST", "/nothing", 404, ""},
		{"the health of the process", "GET", "/health", 200, ""},
		{"the health of the process, by another method", "POST", "/health", 405, "GET, HEAD"},
		{"the WebSocket endpoint", "POST", "/app/app-key", 426, ""},
		{"more than the largest body", "POST", signed("app", "POST", "/events", withSum(sumOf(greeting))), 413, "larger"},
	}
	for _, c := range cases {
		for _, body := range []struct{ name, header, begin string }{
			{"nothing of it comes", "Content-Length: 200000\r\n", ""},
			{"its beginning comes", "Content-Length: 200000\r\n", "{"},
			{"it comes in chunks", "Transfer-Encoding: chunked\r\n", "1\r\n{\r\n"},
			{"it asks for another protocol", "Content-Length: 200000\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", "x"},
			{"it waits to be asked for", "Content-Length: 200000\r\nExpect: 100-continue\r\n", ""},
		} {
			header := body.header
			if c.status == 413 {
				header = strings.Replace(header, "200000", "20000000", 1)
				if strings.Contains(header, "chunked") {
					continue
				}
			}
			t.Run(c.name+", "+body.name, func(t *testing.T) {
				l := r.with(t).dial(c.method + " " + c.target + " HTTP/1.1\r\nHost: localhost\r\n" + header + "\r\n" + body.begin)
				resp, text := l.answer()
				if resp.StatusCode != c.status || !strings.Contains(text, c.says) {
					t.Errorf("got %d %s, want %d about %q", resp.StatusCode, text, c.status, c.says)
				}
				l.ended()
			})
		}
	}
	if got := gauge(t, registry, "sockudo_http_body_bytes"); got != 0 {
		t.Errorf("bodies hold %v bytes, want none", got)
	}
}

// TestTrust10ALateBodyDoesNotResetTheAnswer sends an unwanted body after the response, as a client does that
// is slower than the server.
func TestTrust10ALateBodyDoesNotResetTheAnswer(t *testing.T) {
	t.Parallel()
	r, _ := runApps(t, nil)
	for name, head := range map[string]string{
		"publishing":               "POST /apps/app/events HTTP/1.1\r\nContent-Length: 200000\r\n",
		"publishing in chunks":     "POST /apps/app/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
		"asking first":             "POST /apps/app/events HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 200000\r\n",
		"a query":                  "GET /apps/app/channels HTTP/1.1\r\nContent-Length: 200000\r\n",
		"a path that is not there": "POST /nothing HTTP/1.1\r\nContent-Length: 200000\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The body is read for half a second, which a busy machine may exceed before the body is sent.
			until(t, "the body is taken", func() bool {
				l := r.with(t).dial(head + "Host: localhost\r\n\r\n")
				defer func() { _ = l.conn.Close() }()
				if resp, _ := l.answer(); resp.StatusCode < 400 {
					t.Errorf("got %d", resp.StatusCode)
				}
				l.ended() // the server has closed its side
				for range 3 {
					if _, err := io.WriteString(l.conn, "1\r\nx\r\n"); err != nil {
						return false
					}
				}
				return true
			})
		})
	}
}

// TestTrust10WhatIsSignedIsReadAsBefore: all forms of bodies are read.
func TestTrust10WhatIsSignedIsReadAsBefore(t *testing.T) {
	t.Parallel()
	r, registry := runApps(t, func(o *gateway.Options) { o.Unsigned = true })
	chunked := func(parts ...string) string {
		out := "Transfer-Encoding: chunked\r\n\r\n"
		for _, p := range parts {
			out += fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
		}
		return out + "0\r\n\r\n"
	}
	whole := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	good := signed("app", "POST", "/events", withSum(sumOf(greeting)))
	large := `{"name":"n","channel":"c","data":"` + strings.Repeat("x", 9000) + `"}` + strings.Repeat(" ", 300_000)
	for _, c := range []struct {
		name, method, target, rest string
		status                     int
	}{
		{"a body", "POST", good, whole(greeting), 200},
		{"a body in chunks", "POST", good, chunked(greeting[:5], greeting[5:]), 200},
		{"a large body", "POST", signed("app", "POST", "/events", withSum(sumOf(large))), whole(large), 200},
		{"a large body in chunks", "POST", signed("app", "POST", "/events", withSum(sumOf(large))), chunked(large[:100_000], large[100_000:]), 200},
		{"another body", "POST", good, whole(strings.Replace(greeting, "d", "e", 1)), 401},
		{"another body in chunks", "POST", good, chunked(greeting, " "), 401},
		{"no body where one was signed", "POST", good, whole(""), 401},
		{"no sum and a body in chunks", "POST", signed("app", "POST", "/events", nil), chunked(greeting), 401},
		{"no sum and no chunk", "POST", signed("app", "POST", "/events", nil), chunked(), 400},
		{"no sum and no body", "POST", signed("app", "POST", "/events", nil), whole(""), 400},
		{"chunks beyond the largest body", "POST", good, chunked(strings.Repeat("x", 1<<20), "x"), 413},
		{"a query without a body", "GET", signed("app", "GET", "/channels/c/history", nil), "\r\n", 200},
		{"a query with the sum of nothing", "GET", signed("app", "GET", "/channels/c/history", withSum(sumOf(""))), "\r\n", 200},
		{"a query with a body and its sum", "GET", signed("app", "GET", "/channels/c/history", withSum(sumOf("x"))), whole("x"), 200},
		{"unsigned from this machine", "POST", "/apps/app/events", whole(greeting), 200},
		{"unsigned in chunks", "POST", "/apps/app/events", chunked(greeting), 200},
		{"unsigned with a sum, which nobody asked for", "POST", "/apps/app/events?body_md5=x", whole(greeting), 200},
	} {
		l := r.dial(c.method + " " + c.target + " HTTP/1.1\r\nHost: localhost\r\n" + c.rest)
		if resp, text := l.answer(); resp.StatusCode != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, resp.StatusCode, text, c.status)
		}
	}
	// This client sends less than it announced, and disconnects.
	l := r.dial("POST " + good + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + greeting)
	if err := l.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if resp, text := l.answer(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("less than announced: got %d %s", resp.StatusCode, text)
	}
	until(t, "all room is given back", func() bool { return gauge(t, registry, "sockudo_http_body_bytes") == 0 })
}

// TestTrust10AllBodiesTogetherAreBounded fills the room for bodies with publishers that have signed and send
// no more.
func TestTrust10AllBodiesTogetherAreBounded(t *testing.T) {
	t.Parallel()
	const most = 16 << 10
	r, registry := runApps(t, func(o *gateway.Options) {
		o.BodyTimeout, o.MaxBody, o.MaxBodies = time.Hour, most, 8*most
	})
	begin := func(appID string) *line {
		return r.dial("POST " + signed(appID, "POST", "/events", withSum(sumOf(greeting))) +
			fmt.Sprintf(" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", most))
	}
	publish := func(appID string) (*http.Response, string) {
		return r.dial("POST " + signed(appID, "POST", "/events", withSum(sumOf(greeting))) +
			fmt.Sprintf(" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(greeting), greeting)).answer()
	}
	held := func() float64 { return gauge(t, registry, "sockudo_http_body_bytes") }
	var slow []*line
	for n := range 4 {
		slow = append(slow, begin("app"))
		until(t, "there is room for a body", func() bool { return held() == float64((n+1)*most) })
	}
	for range 50 {
		resp, text := begin("app").answer()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, "http.max_bodies") {
			t.Fatalf("beyond the room: got %d %s %v", resp.StatusCode, text, resp.Header)
		}
	}
	if got := held(); got != 4*most {
		t.Errorf("bodies hold %v bytes, want %d", got, 4*most)
	}
	if resp, text := publish("app"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the app that took the room: got %d %s", resp.StatusCode, text)
	}
	if resp, text := publish("other"); resp.StatusCode != http.StatusOK {
		t.Errorf("another app: got %d %s", resp.StatusCode, text)
	}
	if got := gauge(t, registry, "sockudo_limits_total", "limit=bodies", "app_id=app"); got != 51 {
		t.Errorf("%v refusals were counted, want 51", got)
	}
	resp, _ := r.dial("GET " + signed("app", "GET", "/channels/c/history", nil) + " HTTP/1.1\r\nHost: localhost\r\n\r\n").answer()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a request without a body: got %d", resp.StatusCode)
	}
	for _, l := range slow {
		_ = l.conn.Close()
	}
	until(t, "there is room again", func() bool { return held() == 0 })
	if resp, text := publish("app"); resp.StatusCode != http.StatusOK {
		t.Errorf("with room again: got %d %s", resp.StatusCode, text)
	}
}

// TestTrust10ABodyMustGoOnComing: a publisher that stops in the middle of a body, or sends a byte now and
// then, loses its room.
func TestTrust10ABodyMustGoOnComing(t *testing.T) {
	t.Parallel()
	r, registry := runApps(t, func(o *gateway.Options) { o.BodyTimeout = 600 * time.Millisecond })
	head := "POST " + signed("app", "POST", "/events", withSum(sumOf(greeting))) + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
	for name, trickles := range map[string]bool{"it stops": false, "it trickles": true} {
		t.Run(name, func(t *testing.T) {
			l := r.with(t).dial(head)
			over := make(chan struct{})
			go func() {
				defer close(over)
				l.ended()
			}()
			for beat := time.NewTicker(20 * time.Millisecond); ; {
				select {
				case <-over:
					beat.Stop()
					until(t, "the room is given back", func() bool { return gauge(t, registry, "sockudo_http_body_bytes") == 0 })
					return
				case <-beat.C:
					if trickles {
						l.say(" ")
					}
				}
			}
		})
	}
}
