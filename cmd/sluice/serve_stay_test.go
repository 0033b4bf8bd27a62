package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
)

// TestWS26AServerStaysForASecond: the only server waits for clients that reconnect at once, see
// docs/operations.md, but not much longer, since the next server waits for its port.
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
