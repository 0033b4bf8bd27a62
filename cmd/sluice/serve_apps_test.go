package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
)

func TestRatesOfAnAppReachTheGateway(t *testing.T) {
	load := func(text string) (*configs.Config, error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "sluice.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return configs.Load(configs.Sources{File: file})
	}
	c, err := load(`
apps:
  - {id: bounded, key: k1, secret: s1, max_backend_events_per_second: 250, max_read_requests_per_second: 30}
  - {id: free, key: k2, secret: s2}
`)
	if err != nil {
		t.Fatal(err)
	}
	apps := app.NewRegistry(appsOf(c)...)
	if got := apps.ByID("bounded").Limits; got.EventsPerSecond != 250 || got.ReadsPerSecond != 30 {
		t.Errorf("got %d events and %d reads, want 250 and 30", got.EventsPerSecond, got.ReadsPerSecond)
	}
	if got := apps.ByID("free").Limits; got.EventsPerSecond != 0 || got.ReadsPerSecond != 0 {
		t.Errorf("got %d events and %d reads, want no bounds", got.EventsPerSecond, got.ReadsPerSecond)
	}

	_, err = load("apps: [{id: a, key: k, secret: s, max_backend_events_per_second: -1, max_read_requests_per_second: many}]\n")
	var problems *configs.Error
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want problems", err)
	}
	got := strings.Join(problems.Problems, "\n")
	for _, want := range []string{"max_backend_events_per_second is -1", "max_read_requests_per_second is"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
