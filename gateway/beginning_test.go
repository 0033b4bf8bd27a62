package gateway_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/gateway"
)

// TestWeeks21AConnectionThatBeginsWithNoRequest: a browser that uses wss:// on a port without TLS, or a
// client of another protocol, is logged and counted. Before, it left no trace at any log level and in no
// metric.
func TestWeeks21AConnectionThatBeginsWithNoRequest(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said bytes.Buffer
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return said.String()
	}
	r, registry := runApps(t, func(o *gateway.Options) {
		o.Unsigned = true
		o.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return said.Write(p)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	limits := []string{"no_tls", "not_http", "proxy_protocol"}
	want := map[string]float64{}
	for _, c := range []struct{ name, text, limit, line string }{
		{"TLS", "", "no_tls", "clients speak TLS to a port that does not"},
		{"bytes", "\x00\x01\x02\x03", "not_http", "a connection does not begin with a request"},
		{"a ping of Redis", "*1\r\n$4\r\nPING\r\n", "", ""}, // its first byte may be that of a method
		{"a letter of another alphabet", "é / HTTP/1.1\r\n\r\n", "not_http", "a connection does not begin with a request"},
		{"a PROXY header", v1("203.0.113.7"), "proxy_protocol", "PROXY headers are refused"},
		{"a request", askHealth, "", ""},
		{"an unknown method", "JUGGLE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", ""},
		{"an empty line before a request", "\r\n" + askHealth, "", ""},
	} {
		before := strings.Count(text(), c.line)
		l := r.dial(c.text)
		if c.name == "TLS" {
			if err := tls.Client(l.conn, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}).Handshake(); err == nil {
				t.Error("TLS was spoken")
			}
		} else {
			_, _ = http.ReadResponse(l.in, nil)
		}
		if want[c.limit]++; c.limit == "" {
			want[""] = 0
		}
		for _, limit := range limits {
			if got := gauge(t, registry, "sockudo_limits_total", "limit="+limit); got != want[limit] {
				t.Errorf("%s: %v of %s are counted, want %v", c.name, got, limit, want[limit])
			}
		}
		if c.line != "" && strings.Count(text(), c.line) != before+1 {
			t.Errorf("%s: the log says\n%s", c.name, text())
		}
	}
}
