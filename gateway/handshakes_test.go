package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestSilentConnectionsOfOneAddressAreBounded opens connections that send nothing. A connection that has sent
// a request does not count.
func TestSilentConnectionsOfOneAddressAreBounded(t *testing.T) {
	l, err := memory.New(memory.Options{Apps: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	a := &app.App{ID: "a", Key: "k", Secret: "s", Enabled: true, Limits: app.DefaultLimits}
	n, err := New(Options{Apps: app.NewRegistry(a), Log: l, Listen: "127.0.0.1:0", Registry: registry, MaxHandshakes: 3, HeaderTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, l.Close()); err != nil {
			t.Error(err)
		}
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	speaks := dial()
	if _, err := io.WriteString(speaks, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(speaks), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v", err)
	}
	silent := []net.Conn{dial(), dial(), dial()}
	var tooMany net.Conn
	eventuallyTrue(t, "one too many is closed", func() bool {
		tooMany = dial()
		_ = tooMany.SetReadDeadline(time.Now().Add(time.Second))
		answer, err := io.ReadAll(tooMany)
		return strings.HasPrefix(string(answer), "HTTP/1.1 503 ") && (err == nil || strings.Contains(err.Error(), "reset"))
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			counted = counted || f.GetName() == "sockudo_limits_total" && m.GetCounter().GetValue() > 0
		}
	}
	if !counted {
		t.Error("the limit was not counted")
	}
	for _, c := range silent {
		_ = c.Close()
	}
	eventuallyTrue(t, "there is room again", func() bool {
		resp, err := http.Get("http://" + n.Addr() + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	http.DefaultClient.CloseIdleConnections()
}

func eventuallyTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
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

// TestWeeks18WhoIsOneTooManyIsTold: a refused proxy passes the response it got on to its clients. So a
// refusal is a response, and a line in the log.
func TestWeeks18WhoIsOneTooManyIsTold(t *testing.T) {
	l, err := memory.New(memory.Options{Apps: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	var logged lines
	a := &app.App{ID: "a", Key: "k", Secret: "s", Enabled: true, Limits: app.DefaultLimits}
	n, err := New(Options{
		Apps: app.NewRegistry(a), Log: l, Listen: "127.0.0.1:0", MaxHandshakes: 2, HeaderTimeout: time.Hour,
		Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, l.Close()); err != nil {
			t.Error(err)
		}
	})
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range 12 {
		c, err := net.Dial("tcp", n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		if i < 2 {
			continue
		}
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Minute))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "http.max_handshakes_per_address") {
			t.Errorf("connection %d: %s %v %s", i, resp.Status, resp.Header, text)
		}
	}
	if n := strings.Count(logged.String(), "http.max_handshakes_per_address"); n != 1 || !strings.Contains(logged.String(), "address=127.0.0.1") {
		t.Errorf("said %d times: %s", n, logged.String())
	}
}

// lines is log output that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestWeeks18ACrowdIsToldOnceInAWhile(t *testing.T) {
	var logged lines
	c := &crowd{logger: slog.New(slog.NewTextHandler(&logged, nil)), limit: 5}
	for range 100 {
		c.note(netip.MustParseAddr("192.0.2.1"))
	}
	if got := logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "address=192.0.2.1 limit=5") {
		t.Errorf("said %s", got)
	}
}

// TestWeeks18AMassReconnectFitsTheDefault connects as many clients at once as one machine does in a load
// test.
func TestWeeks18AMassReconnectFitsTheDefault(t *testing.T) {
	var opt Options
	opt.Apps, opt.Log = app.NewRegistry(), nopLog{}
	if err := opt.setDefaults(); err != nil || opt.MaxHandshakes < 5000 {
		t.Errorf("the default is %d, %v", opt.MaxHandshakes, err)
	}
	h := newHandshakes(opt.MaxHandshakes, &proxies{}, func(netip.Addr) { t.Error("one was refused") }, func() {})
	for range 3000 {
		if _, ok := h.begin(netip.MustParseAddr("192.0.2.1")); !ok {
			t.Fatal("one was refused")
		}
	}
}

type nopLog struct{ broker.Log }
