package main

import (
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// scrape reads the metrics of a server.
func scrape(t *testing.T, address string) string {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRun08MetricsAreThereFromTheStart at 0, move with what happens, and the end of a server
// says whom it sends away.
func TestRun08MetricsAreThereFromTheStart(t *testing.T) {
	s := start(t, nil, "--port", "0", "--metrics-port", "0", "--metrics-prefix", "sluice_", "--adapter-driver", "local", "--shutdown-drain-seconds", "9")
	s.errors.await(t, "sluice is serving")
	found := regexp.MustCompile(`http=(\S+) metrics=(\S+)`).FindStringSubmatch(s.errors.String())
	if found == nil {
		t.Fatalf("no addresses in\n%s", s.errors)
	}
	web, metrics := found[1], found[2]
	port := web[strings.LastIndex(web, ":")+1:]
	of := func(name, labels string) string { return "\nsluice_" + name + "{" + labels + `port="` + port + `"` }
	text := scrape(t, metrics)
	if !regexp.MustCompile(`\nsluice_build_info\{goversion="` + regexp.QuoteMeta(runtime.Version()) + `",revision="[^"]*",version="[^"]+"\} 1\n`).MatchString(text) {
		t.Error("there is no build_info")
	}
	for _, want := range []string{
		of("connected", `app_id="app-id",`) + "} 0\n", of("connections_total", `app_id="app-id",`) + "} 0\n",
		of("subscriptions", `app_id="app-id",`) + "} 0\n", of("presence_members", `app_id="app-id",`) + "} 0\n",
		of("client_events_total", `app_id="app-id",`) + "} 0\n", of("gaps_total", "") + `,reason="evicted"} 0` + "\n",
		of("http_events_published_total", `app_id="app-id",`) + "} 0\n",
		of("http_requests_total", `app_id="app-id",`) + `,route="events",status="200"} 0` + "\n",
		of("http_request_seconds_count", "") + `,route="history"} 0` + "\n",
		of("delta_compression_resync_total", `app_id="app-id",`) + "} 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("at the start there is no %s", want)
		}
	}
	r := &rig{t: t, url: "http://" + web}
	r.join("ada", "presence-room")
	r.join("ada", "presence-room")
	r.join("bob", "presence-room")
	watcher := start(t, nil, "subscribe", "lobby", "--url", web)
	watcher.errors.await(t, "subscribed")
	awaitMetric(t, metrics, of("subscriptions", `app_id="app-id",`)+"} 4\n")
	awaitMetric(t, metrics, of("presence_members", `app_id="app-id",`)+"} 2\n")
	watcher.interrupt()
	watcher.wait()
	awaitMetric(t, metrics, of("subscriptions", `app_id="app-id",`)+"} 3\n")
	s.interrupt()
	if status := s.wait(); status != exitOK || !regexp.MustCompile(`msg="stopping[^"]*" connections=3 time_left=9s`).MatchString(s.errors.String()) {
		t.Errorf("status %d\n%s", status, s.errors)
	}
}

// awaitMetric waits until the metrics have a line.
func awaitMetric(t *testing.T, address, want string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		text := scrape(t, address)
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %q", want)
		}
	}
}
