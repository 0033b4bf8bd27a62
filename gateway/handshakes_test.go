package gateway

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestSilentConnectionsOfOneAddressAreBounded opens connections that say nothing. What
// has sent a request does not count.
func TestSilentConnectionsOfOneAddressAreBounded(t *testing.T) {
	l, err := memory.New(memory.Options{Apps: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	a := &app.App{ID: "a", Key: "k", Secret: "s", Enabled: true, Limits: app.DefaultLimits}
	n, err := New(Options{Apps: app.NewRegistry(a), Log: l, Listen: "127.0.0.1:0", Registry: registry, MaxHandshakes: 3})
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
		_ = tooMany.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := tooMany.Read(make([]byte, 1))
		return err == io.EOF || strings.Contains(err.Error(), "reset")
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := false
	for _, f := range families {
		counted = counted || f.GetName() == "sockudo_limits_total"
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
	deadline := time.After(20 * time.Second)
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
