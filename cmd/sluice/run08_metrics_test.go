package main

import (
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// scrape returns the metrics of a server.
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

// TestRun08MetricsAreThereFromTheStart: metrics begin at 0 and move with events, and a server that stops says
// whom it disconnects.
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
		of("publications_skipped_total", "") + "} 0\n",
		of("delta_compression_resync_total", `app_id="app-id",`) + "} 0\n",
		of("delta_compression_delta_messages_total", `app_id="app-id",channel_name="_other",`) + "} 0\n",
		of("delivery_seconds_count", `app_id="app-id",`) + "} 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("at the start there is no %s", want)
		}
	}
	r := &rig{t: t, url: "http://" + web}
	r.join("ada", "presence-room")
	r.join("ada", "presence-room")
	r.join("bob", "presence-room")
	deadline := time.Now().Add(patience)
	watcher := start(t, nil, "subscribe", "lobby", "--url", web)
	watcher.errors.await(t, "subscribed")
	awaitMetric(t, metrics, of("subscriptions", `app_id="app-id",`)+"} 4\n")
	awaitMetric(t, metrics, of("presence_members", `app_id="app-id",`)+"} 2\n")
	// An event that comes while a subscription begins may be read from the history, which is not timed.
	for delivered := of("delivery_seconds_count", `app_id="app-id",`) + "} 0\n"; ; {
		r.succeed("", "publish", "lobby", "hello")
		if !strings.Contains(scrape(t, metrics), delivered) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no delivery is timed")
		}
	}
	watcher.interrupt()
	watcher.wait()
	awaitMetric(t, metrics, of("subscriptions", `app_id="app-id",`)+"} 3\n")
	// A connection that ends is counted for a moment longer than its subscriptions.
	awaitMetric(t, metrics, of("connected", `app_id="app-id",`)+"} 3\n")
	s.interrupt()
	if status := s.wait(); status != exitOK || !regexp.MustCompile(`msg="stopping[^"]*" connections=3 time_left=9s`).MatchString(s.errors.String()) {
		t.Errorf("status %d\n%s", status, s.errors)
	}
}

// awaitMetric waits until the metrics contain a line.
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

// TestRun08DurabilityIsAWord: the durability is shown on the first screen, in readiness, in the log and in
// the printed configuration.
func TestRun08DurabilityIsAWord(t *testing.T) {
	for _, c := range []struct {
		word, sentence string
		args           []string
	}{
		{"none", "an acknowledged event is in the memory of this process only", []string{"--adapter-driver", "local"}},
		{"process", "an acknowledged event is with the operating system", []string{"--nats-embedded-port", "-1", "--nats-embedded-store-dir", t.TempDir()}},
		{"machine", "an acknowledged event is on the disk", []string{"--nats-embedded-port", "-1", "--nats-embedded-store-dir", t.TempDir(), "--durability", "machine"}},
	} {
		s := start(t, nil, append([]string{"--port", "0", "--metrics-port", "-1", "--shutdown-drain-seconds", "0"}, c.args...)...)
		s.errors.await(t, "Ctrl-C stops the server")
		said := s.errors.String()
		found := regexp.MustCompile(`http=(\S+)`).FindStringSubmatch(said)
		if found == nil || !strings.Contains(said, "Durability "+c.word+": "+c.sentence) || !strings.Contains(said, "level="+c.word+" meaning=") {
			t.Fatalf("%s is not told in\n%s", c.word, said)
		}
		if _, out, _ := execute(t, "", "health", "--timeout", "2m", "--url", found[1]); !strings.Contains(out, "durability "+c.word+": "+c.sentence) {
			t.Errorf("health says %q", out)
		}
		s.interrupt()
		s.wait()
	}
	for _, c := range []struct{ want, text string }{
		{"auto # which is process here", ""}, {"machine", "durability: machine\n"}, {"auto # which is replicated here", "nats: {url: [nats://a], replicas: 3}\n"}, {"auto", "nats: {url: [nats://a], replicas: 2}\n"},
		{"auto # which is process here", "nats: {url: [nats://a]}\n"}, {"auto", "adapter: {driver: local}\n"},
	} {
		text := "apps: [{id: a, key: k, secret: abcdefghijklmnopqrstuvwxyz}]\n" + c.text
		status, out, errors := execute(t, "", "config", "--config", writeFile(t, "c.yaml", text))
		if status != exitOK || !strings.Contains("\n"+out, "\ndurability: "+c.want+"\n") {
			t.Errorf("%q: status %d, want %s\n%s%s", c.text, status, c.want, out, errors)
		}
	}
}

// TestRun06NativeHistogramsAreServed: native histograms are served on request, with the classic buckets.
func TestRun06NativeHistogramsAreServed(t *testing.T) {
	s := start(t, nil, "--port", "0", "--metrics-port", "0", "--metrics-prefix", "sluice_", "--adapter-driver", "local", "--shutdown-drain-seconds", "0")
	s.errors.await(t, "sluice is serving")
	found := regexp.MustCompile(`http=(\S+) metrics=(\S+)`).FindStringSubmatch(s.errors.String())
	r := &rig{t: t, url: "http://" + found[1]}
	r.succeed("", "publish", "lobby", "hello")
	q, err := http.NewRequest(http.MethodGet, "http://"+found[2]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	answer, err := (&http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	dec, seen := expfmt.NewDecoder(answer.Body, expfmt.ResponseFormat(answer.Header)), 0
	for {
		var f dto.MetricFamily
		if err := dec.Decode(&f); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(f.GetName(), "sluice_") {
			continue
		}
		seen++
		for _, m := range f.Metric {
			if m.Histogram.Schema == nil || len(m.Histogram.Bucket) == 0 {
				t.Errorf("%s has one kind of buckets only", f.GetName())
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d histograms were found", seen)
	}
	s.interrupt()
	s.wait()
}
