package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// moody is a log whose health the test sets.
type moody struct {
	*memory.Log
	sick atomic.Bool
}

func (l *moody) Health() broker.Health {
	h := l.Log.Health()
	if l.sick.Load() {
		h.Ready, h.Problems = false, []string{"the log is sick"}
	}
	return h
}

// running is a running node.
type running struct {
	*gateway.Node
	t    *testing.T
	log  *moody
	stop context.CancelFunc
	over chan error
}

func run(t *testing.T, change func(*gateway.Options)) *running {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	r := &running{t: t, log: &moody{Log: log}, over: make(chan error, 1)}
	opt := gateway.Options{
		Apps: app.NewRegistry(&app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}),
		Log:  r.log, Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Drain: 5 * time.Second,
	}
	if change != nil {
		change(&opt)
	}
	if r.Node, err = gateway.New(opt); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.over <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.over:
			if err != nil {
				t.Errorf("the node ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the node did not stop")
		}
	})
	return r
}

// request sends a request without a signature; header holds names and values in turn.
func (r *running) request(method, url, body string, header ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestHealthAndReadiness(t *testing.T) {
	r := run(t, nil)
	base := "http://" + r.Addr()
	if status, text := r.request(http.MethodGet, base+"/health", ""); status != http.StatusOK || !strings.Contains(text, `"ok"`) {
		t.Errorf("health: %d %s", status, text)
	}
	status, text := r.request(http.MethodGet, base+"/ready", "")
	var said struct {
		Ready      bool
		Backend    string
		Durability string
	}
	if status != http.StatusOK || json.Unmarshal([]byte(text), &said) != nil || !said.Ready || said.Backend == "" || said.Durability == "" {
		t.Errorf("ready: %d %s", status, text)
	}
	r.log.sick.Store(true)
	if status, text := r.request(http.MethodGet, base+"/ready", ""); status != http.StatusServiceUnavailable || !strings.Contains(text, "the log is sick") {
		t.Errorf("ready with a sick log: %d %s", status, text)
	}
	if status, _ := r.request(http.MethodGet, base+"/health", ""); status != http.StatusOK {
		t.Errorf("health with a sick log: %d", status)
	}
	if status, text := r.request(http.MethodGet, "http://"+r.MetricsAddr()+"/metrics", ""); status != http.StatusOK || !strings.Contains(text, "sockudo_") {
		t.Errorf("metrics: %d %.200s", status, text)
	}
	if status, _ := r.request(http.MethodGet, base+"/metrics", ""); status != http.StatusNotFound {
		t.Errorf("metrics on the public listener: %d", status)
	}
}

func TestUnsignedRequestsAreForThisMachine(t *testing.T) {
	const body = `{"name":"n","channel":"c","data":"d"}`
	open := run(t, func(o *gateway.Options) { o.Unsigned = true })
	url := "http://" + open.Addr() + "/apps/app/events"
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"from this machine":          {nil, http.StatusOK},
		"from a page of this server": {[]string{"Origin", "http://" + open.Addr()}, http.StatusOK},
		"from a page of another":     {[]string{"Origin", "https://evil.example"}, http.StatusUnauthorized},
		"of no origin":               {[]string{"Origin", "null"}, http.StatusUnauthorized},
		"by another name":            {[]string{"Host", "evil.example"}, http.StatusUnauthorized},
		"through a proxy":            {[]string{"X-Forwarded-For", "203.0.113.7"}, http.StatusUnauthorized},
		"through a newer proxy":      {[]string{"Forwarded", "for=203.0.113.7"}, http.StatusUnauthorized},
	} {
		if status, text := open.request(http.MethodPost, url, body, c.header...); status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, text, c.status)
		}
	}
	closed := run(t, nil)
	if status, _ := closed.request(http.MethodPost, "http://"+closed.Addr()+"/apps/app/events", body); status != http.StatusUnauthorized {
		t.Errorf("a server that wants signatures answered %d", status)
	}
}

func TestThePathPrefixPrecedesEverything(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.PathPrefix = "/realtime" })
	base := "http://" + r.Addr()
	for path, want := range map[string]int{
		"/realtime/health": http.StatusOK, "/health": http.StatusNotFound, "/realtimes/health": http.StatusNotFound,
		"/realtime/nothing": http.StatusNotFound, "/": http.StatusNotFound,
	} {
		if status, _ := r.request(http.MethodGet, base+path, ""); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	c, err := client.Dial(t.Context(), client.Options{URL: base + "/realtime", Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestStoppingClosesConnectionsAndEnds(t *testing.T) {
	r := run(t, nil)
	c, err := client.Dial(t.Context(), client.Options{URL: "http://" + r.Addr(), Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r.stop()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the connection was not closed")
	}
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "4200") {
		t.Errorf("the connection ended with %v, want 4200, which asks to come back", err)
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	for name, opt := range map[string]gateway.Options{
		"nothing":        {},
		"a bad address":  {Apps: app.NewRegistry(), Log: nil, Listen: "nowhere:port"},
		"no log, no app": {Listen: "127.0.0.1:0"},
	} {
		if n, err := gateway.New(opt); err == nil {
			t.Errorf("%s: a node came of it: %v", name, n.Addr())
		}
	}
}

func TestWeeks18TheHealthPathOfOthers(t *testing.T) {
	for _, prefix := range []string{"", "/realtime"} {
		r := run(t, func(o *gateway.Options) { o.PathPrefix = prefix })
		r.log.sick.Store(true)
		for path, want := range map[string]int{"/up": 200, "/up/app": 200, "/up/nobody": 404, "/up/": 404, "/upp": 404, "/health": 200, "/ready": 503} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				if status, text := r.request(method, "http://"+r.Addr()+prefix+path, ""); status != want {
					t.Errorf("%s %s%s: %d %s", method, prefix, path, status, text)
				}
			}
		}
	}
}

// TestProbesAreReadOnly: a probe with another method than GET and HEAD gets 405, on both ports.
func TestProbesAreReadOnly(t *testing.T) {
	for _, prefix := range []string{"", "/realtime"} {
		r := run(t, func(o *gateway.Options) { o.PathPrefix = prefix })
		var addresses []string
		for _, path := range []string{"/health", "/up", "/up/app", "/ready"} {
			addresses = append(addresses, r.Addr()+prefix+path)
		}
		for _, address := range append(addresses, r.MetricsAddr()+"/health", r.MetricsAddr()+"/ready", r.MetricsAddr()+"/metrics") {
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
				q, err := http.NewRequestWithContext(t.Context(), method, "http://"+address, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				a, err := http.DefaultTransport.RoundTrip(q)
				if err != nil {
					t.Fatal(err)
				}
				_ = a.Body.Close()
				if allow := a.Header.Get("Allow"); a.StatusCode != http.StatusMethodNotAllowed || allow != "GET, HEAD" {
					t.Errorf("%s %s: %d, Allow: %s", method, address, a.StatusCode, allow)
				}
			}
		}
	}
}

// TestRun17HeadIsGetWithoutABody: HEAD is like GET for everything that a node serves beside the API.
func TestRun17HeadIsGetWithoutABody(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.PathPrefix = "/realtime" })
	for path, kind := range map[string]string{
		"/health": "application/json", "/up": "application/json", "/up/app": "application/json", "/ready": "application/json",
		"/nothing": "application/json", "/app/key/events?channel=a": "text/event-stream", "/app/key/events": "application/json",
		"/app/key/events?channel=presence-a": "application/json", "/app/other/events?channel=a": "application/json",
	} {
		answers := map[string]*http.Response{}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			ctx, cancel := context.WithCancel(t.Context())
			q, err := http.NewRequestWithContext(ctx, method, "http://"+r.Addr()+"/realtime"+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			a, err := http.DefaultTransport.RoundTrip(q)
			if err != nil {
				t.Fatal(err)
			}
			answers[method] = a
			if method == http.MethodHead {
				if text, err := io.ReadAll(a.Body); len(text) > 0 || err != nil {
					t.Errorf("HEAD %s has the body %q, %v", path, text, err)
				}
			}
			cancel()
			_ = a.Body.Close()
		}
		get, head := answers[http.MethodGet], answers[http.MethodHead]
		if head.StatusCode != get.StatusCode || head.Header.Get("Content-Type") != kind || get.Header.Get("Content-Type") != kind || head.Header.Get("Cache-Control") != get.Header.Get("Cache-Control") {
			t.Errorf("HEAD %s: %d %v, GET: %d %v", path, head.StatusCode, head.Header, get.StatusCode, get.Header)
		}
	}
}

// TestWeeks07TheWholePathMayBeSigned: the signature may include the path prefix.
func TestWeeks07TheWholePathMayBeSigned(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.PathPrefix = "/realtime" })
	const path = "/apps/app/channels/a;b/history/state"
	for _, c := range []struct {
		about, sent, signed string
		status              int
	}{
		{"as sent", "/realtime" + path, "/realtime" + path, 422},
		{"without the prefix", "/realtime" + path, path, 422},
		{"decoded", "/realtime" + strings.ReplaceAll(path, ";", "%3B"), "/realtime" + path, 422},
		{"decoded without the prefix", "/realtime" + strings.ReplaceAll(path, ";", "%3B"), path, 422},
		{"with another prefix", "/realtime" + path, "/other" + path, 401},
		{"with the prefix twice", "/realtime" + path, "/realtime/realtime" + path, 401},
	} {
		params := url.Values{"auth_key": {"key"}, "auth_timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}, "auth_version": {"1.0"}}
		params.Set("auth_signature", pusher.SignRequest("secret", http.MethodGet, c.signed, params))
		if status, text := r.request(http.MethodGet, "http://"+r.Addr()+c.sent+"?"+params.Encode(), ""); status != c.status {
			t.Errorf("%s: got %d %s", c.about, status, text)
		}
	}
}

// TestWeeks18AMassReconnectThroughOneAddress opens many connections from one address before any of them sends
// a request, as clients behind a load balancer do.
func TestWeeks18AMassReconnectThroughOneAddress(t *testing.T) {
	r := run(t, func(o *gateway.Options) { o.HeaderTimeout = patience })
	const many = 900
	conns := make([]net.Conn, many)
	for i := range conns {
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	for i, c := range conns {
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("connection %d: %v", i, err)
		}
		_ = resp.Body.Close()
	}
}
