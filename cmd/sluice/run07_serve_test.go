package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/configs"
)

// freePort listens on a port, which is then taken for others.
func freePort(t *testing.T) (l net.Listener, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l, port
}

// TestRun07AllPortsInUseAreNamed: all taken ports are reported at once, whoever uses them, and nothing else
// is touched.
func TestRun07AllPortsInUseAreNamed(t *testing.T) {
	_, metrics := freePort(t)
	_, nats := freePort(t)
	stranger, web := freePort(t)
	s := &http.Server{Handler: http.NotFoundHandler()}
	served := make(chan error)
	go func() { served <- s.Serve(stranger) }()
	defer func() { _ = s.Close(); <-served }()
	store := filepath.Join(t.TempDir(), "store")
	status, _, errors := execute(t, "", "--port", web, "--metrics-port", metrics, "--nats-embedded-port", nats, "--nats-embedded-store-dir", store)
	for _, want := range []string{":" + web + " (port)", ":" + metrics + " (metrics.port)", ":" + nats + " (nats.embedded.port)", "needs ports and a directory of its own"} {
		if status != exitFailure || !strings.Contains(errors, want) {
			t.Errorf("status %d, no %q in %q", status, want, errors)
		}
	}
	if strings.Contains(errors, "Sluice runs already") {
		t.Errorf("somebody else is taken for Sluice: %q", errors)
	}
	if left, _ := filepath.Glob(store); len(left) > 0 {
		t.Error("a store was begun")
	}
}

func TestRun07ASecondServerIsToldOfTheFirst(t *testing.T) {
	r := newRig(t)
	port := r.url[strings.LastIndex(r.url, ":")+1:]
	status, _, errors := execute(t, "", "--port", port, "--metrics-port", "-1", "--adapter-driver", "local")
	if status != exitFailure || !strings.Contains(errors, "Sluice runs already at "+r.url) || !strings.Contains(errors, "sluice health --url "+r.url) || !strings.Contains(errors, "ports of its own") {
		t.Errorf("status %d, %q", status, errors)
	}
}

// TestRun07TheFirstScreen: at a terminal the server says where the data is, who may publish and what to do
// next. A JSON log has none of this.
func TestRun07TheFirstScreen(t *testing.T) {
	store := t.TempDir()
	for _, c := range []struct {
		args, want, not []string
	}{
		{[]string{"--nats-embedded-port", "0", "--nats-embedded-store-dir", store}, []string{
			"Events     kept in " + store, "id app-id, key app-key, secret app-secret", "sluice subscribe lobby --url 127.0.0.1:", "Page ", "NATS       nats://127.0.0.1:", "/metrics", "data=" + store,
		}, nil},
		{[]string{"--adapter-driver", "local", "--web-enabled", "false"}, []string{"kept in the memory of this process"}, []string{"Page ", "NATS  "}},
		{[]string{"--adapter-driver", "local", "--log-format", "json"}, nil, []string{"Next, in another terminal"}},
	} {
		s := start(t, nil, append(c.args, "--port", "0", "--metrics-port", "0")...)
		s.errors.await(t, "sluice is serving")
		s.interrupt()
		if status := s.wait(); status != exitOK {
			t.Errorf("%q: status %d", c.args, status)
		}
		for _, want := range c.want {
			if !strings.Contains(s.errors.String(), want) {
				t.Errorf("%q: no %q in\n%s", c.args, want, s.errors)
			}
		}
		for _, not := range c.not {
			if strings.Contains(s.errors.String(), not) {
				t.Errorf("%q: %q stands in\n%s", c.args, not, s.errors)
			}
		}
	}
	var text strings.Builder
	own, err := configs.Load(configs.Sources{File: writeFile(t, "c.yaml", "mode: development\napps: [{id: a, key: k, secret: hidden}]\n")})
	if err != nil {
		t.Fatal(err)
	}
	hello(&text, own, "none: in memory", "127.0.0.1:6001", "", "")
	if got := text.String(); strings.Contains(got, "hidden") || strings.Contains(got, "--url") || strings.Contains(got, "Metrics") || !strings.Contains(got, "Durability none: in memory") {
		t.Errorf("with an app of its own:\n%s", got)
	}
}
