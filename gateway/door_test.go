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

// TestTime04OnlySocketsWaitAtTheDoor: in a crowd WebSocket handshakes wait and other requests do not. A
// gateway that stops ends the wait.
func TestTime04OnlySocketsWaitAtTheDoor(t *testing.T) {
	l, err := memory.New(memory.Options{Apps: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	a := &app.App{ID: "a", Key: "k", Secret: "s", Enabled: true, Limits: app.DefaultLimits}
	registry := prometheus.NewRegistry()
	n, err := New(Options{Apps: app.NewRegistry(a), Log: l, Listen: "127.0.0.1:0", Registry: registry, HandshakeRate: 1, MaxHandshakes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	const crowd = 400 // most of a minute's work at the highest rate
	var conns []net.Conn
	for range crowd {
		c, err := net.Dial("tcp", n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "GET /app/k?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	answer := func(c net.Conn) int {
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Minute))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if got := answer(conns[0]); got != http.StatusSwitchingProtocols {
		t.Errorf("the first one got %d", got)
	}
	waiting := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "sockudo_handshakes_waiting" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	eventuallyTrue(t, "others wait", func() bool { return waiting() > crowd/2 })
	eventuallyTrue(t, "their requests are known to be here", func() bool {
		n.shakes.mu.Lock()
		defer n.shakes.mu.Unlock()
		return len(n.shakes.of) == 0
	})
	for _, path := range []string{"/health", "/ready", "/up/k"} {
		resp, err := http.Get("http://" + n.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	// A publisher with a connection of its own does not wait either.
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Post("http://"+n.Addr()+"/apps/a/events", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if waiting() < crowd/4 {
		t.Error("other requests waited until the crowd was in")
	}
	http.DefaultClient.CloseIdleConnections()
	// A client that disconnects is forgotten.
	before := waiting()
	for _, c := range conns[crowd/2:] {
		_ = c.Close()
	}
	eventuallyTrue(t, "who has gone does not wait", func() bool { return waiting() <= max(before-crowd/2, crowd/2) })
	cancel()
	for _, c := range conns[1 : crowd/2] {
		if got := answer(c); got != http.StatusSwitchingProtocols && got != http.StatusServiceUnavailable {
			t.Errorf("somebody who waited got %d", got)
		}
	}
	if err := errors.Join(<-ended, l.Close()); err != nil {
		t.Error(err)
	}
}
