package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
)

// TestWS26AServerStaysForASecond: the only server is there for clients that come back at once, see docs/operations.md,
// and not for much longer, as the next one waits for its port.
func TestWS26AServerStaysForASecond(t *testing.T) {
	c, err := configs.Load(configs.Sources{File: writeFile(t, "c.yaml", "apps: [{id: a, key: k, secret: s}]\n")})
	if err != nil {
		t.Fatal(err)
	}
	opt := nodeOptions(c, &backend{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if opt.Linger != time.Second {
		t.Errorf("it stays for %v", opt.Linger)
	}
}
