package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func lookAt(t *testing.T, at time.Time, text string) look {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return look{at, families}
}

// TestRun07TopComparesTwoLooks: numbers are of the last scrape, rates of the time between two, also when a
// server was restarted.
func TestRun07TopComparesTwoLooks(t *testing.T) {
	at := time.Now()
	before := lookAt(t, at, `
x_connected{app_id="a",port="1"} 2
x_log_published_total{port="1"} 100
x_messages_delivered_total{port="1"} 1000
x_client_events_total{app_id="b",port="1"} 50
# TYPE x_delivery_seconds histogram
x_delivery_seconds_bucket{app_id="a",port="1",le="0.001"} 1000
x_delivery_seconds_bucket{app_id="a",port="1",le="0.01"} 1000
x_delivery_seconds_bucket{app_id="a",port="1",le="+Inf"} 1000
x_delivery_seconds_sum{app_id="a",port="1"} 1
x_delivery_seconds_count{app_id="a",port="1"} 1000
`)
	now := lookAt(t, at.Add(2*time.Second), `
x_build_info{version="v9"} 1
x_connected{app_id="a",port="1"} 3
x_connected{app_id="b",port="1"} 5
x_log_published_total{port="1"} 140
x_messages_delivered_total{port="1"} 10
x_client_events_total{app_id="b",port="1"} 60
x_gaps_total{reason="epoch",port="1"} 1
x_memory_held_bytes{port="1"} 2097152
# TYPE x_delivery_seconds histogram
x_delivery_seconds_bucket{app_id="a",port="1",le="0.001"} 1000
x_delivery_seconds_bucket{app_id="a",port="1",le="0.01"} 1100
x_delivery_seconds_bucket{app_id="a",port="1",le="+Inf"} 1100
x_delivery_seconds_sum{app_id="a",port="1"} 2
x_delivery_seconds_count{app_id="a",port="1"} 1100
`)
	v := viewOf(before, now, "x_")
	if v.Version != "v9" || v.Connections != 8 || v.Published != 20 || v.Delivered != 0 || v.Gaps != 1 || v.DeliveryP50 != 10 || v.DeliveryP99 != 10 || v.MemoryHeld != 2<<20 {
		t.Errorf("%+v", v)
	}
	if len(v.Apps) != 2 || v.Apps[0].ID != "b" || v.Apps[0].ClientEvents != 5 || v.Apps[0].DeliveryP99 != -1 || v.Apps[1].DeliveryP99 != 10 {
		t.Errorf("%+v", v.Apps)
	}
	table := v.table()
	for _, want := range []string{"sluice v9", "8 connections", "20 published", "p99 <= 10 ms", "2.0 MiB alive of no limit", "1 gaps", "\nb "} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if v := viewOf(now, now, "x_"); v.Published != 0 || v.Connections != 8 {
		t.Errorf("of one look: %+v", v)
	}
	if v := viewOf(lookAt(t, at, ""), lookAt(t, at.Add(time.Second), "x_connected{app_id=\"a\"} 0\n"), "x_"); v.DeliveryP99 != -1 || len(v.Apps) != 1 {
		t.Errorf("of a server that was just started: %+v", v)
	}
}

// TestRun07TopOfARunningServer: top prints a table, and JSON for scripts.
func TestRun07TopOfARunningServer(t *testing.T) {
	s := start(t, nil, "--port", "0", "--metrics-port", "0", "--metrics-prefix", "sluice_", "--adapter-driver", "local", "--shutdown-drain-seconds", "0")
	s.errors.await(t, "sluice is serving")
	found := regexp.MustCompile(`http=(\S+) metrics=(\S+)`).FindStringSubmatch(s.errors.String())
	if found == nil {
		t.Fatal(s.errors)
	}
	watcher := start(t, nil, "subscribe", "lobby", "--url", found[1])
	watcher.errors.await(t, "subscribed")
	args := []string{"top", "--metrics-url", found[2], "--url", found[1], "--metrics-prefix", "sluice_", "--interval", "100ms"}
	status, out, errors := execute(t, "", args...)
	if status != exitOK || !strings.Contains(out, "1 connections, 1 subscriptions") || !strings.Contains(out, "app-id") || !strings.Contains(out, "ready, with memory") || strings.Contains(out, "\x1b") {
		t.Errorf("status %d\n%s%s", status, out, errors)
	}
	status, out, errors = execute(t, "", append(args, "--once", "--json")...)
	var v topView
	if err := json.Unmarshal([]byte(out), &v); err != nil || status != exitOK || v.Connections != 1 || len(v.Apps) != 1 || v.State == "" || strings.Count(out, "\n") != 1 {
		t.Errorf("status %d, %v\n%s%s", status, err, out, errors)
	}
	c := start(t, nil, append(args, "--json")...)
	for c.out.await(t, "\n"); strings.Count(c.out.String(), "\n") < 3; {
		<-c.out.grew
	}
	c.interrupt()
	if status := c.wait(); status != exitOK {
		t.Errorf("status %d\n%s", status, c.errors)
	}
	watcher.interrupt()
	watcher.wait()
	s.interrupt()
	s.wait()
}

// TestRun07TopDrawsAnew: on a terminal top redraws its screen, prints no control sequences of others, and
// goes on after an outage of the server.
func TestRun07TopDrawsAnew(t *testing.T) {
	looks := atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if looks.Add(1) == 2 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, "sockudo_connected{app_id=\"\u009b31m\\\\evil\x1b[2J\"} 1\n")
	}))
	defer server.Close()
	out := newOutput()
	o := &topOptions{metricsURL: server.URL + "/metrics", prefix: "sockudo_", interval: time.Millisecond, token: "secret-token", http: server.Client()}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.watch(ctx, screen{out}) }()
	out.await(t, "no answer: ")
	out.await(t, "1 connections")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text := out.String(); !strings.Contains(text, topHome) || strings.Contains(text, "evil\x1b") || strings.Contains(text, "\u009b") {
		t.Errorf("%q", text)
	}
}

func TestRun07TopIsToldWhatIsWrong(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/locked/metrics":
			w.WriteHeader(http.StatusUnauthorized)
		case "/other/metrics":
			_, _ = io.WriteString(w, "up 1\n")
		default:
			_, _ = io.WriteString(w, "<html>")
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		want   string
		status int
		args   []string
	}{
		{"--token-file", exitFailure, []string{"--metrics-url", server.URL + "/locked"}},
		{"no metrics of a gateway", exitFailure, []string{"--metrics-url", server.URL + "/other"}},
		{"no metrics that can be read", exitFailure, []string{"--metrics-url", server.URL}},
		{"metrics.port", exitFailure, []string{"--metrics-url", "127.0.0.1:1"}},
		{"--interval", exitUsage, []string{"--interval", "1ms"}},
		{"must be a host", exitUsage, []string{"--metrics-url", "ftp://x"}},
		{"no such file", exitFailure, []string{"--token-file", "/nothing/there"}},
	} {
		status, out, errors := execute(t, "", append([]string{"top", "--once"}, c.args...)...)
		if status != c.status || !strings.Contains(errors, c.want) || out != "" {
			t.Errorf("%q: status %d, %q, want %q", c.args, status, errors, c.want)
		}
	}
}
