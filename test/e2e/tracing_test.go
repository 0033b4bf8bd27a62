package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans collects the spans that a server sends by OTLP.
type spans struct {
	mu   sync.Mutex
	seen []receivedSpan
}

type receivedSpan struct {
	name, trace, id, parent, service string
	attributes                       map[string]string
	links                            []string // traceparents
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	var got collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(text, &got) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, about := range got.ResourceSpans {
		service := ""
		for _, a := range about.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range about.ScopeSpans {
			for _, one := range scope.Spans {
				out := receivedSpan{
					name: one.Name, trace: hex.EncodeToString(one.TraceId), id: hex.EncodeToString(one.SpanId),
					parent: hex.EncodeToString(one.ParentSpanId), service: service, attributes: map[string]string{},
				}
				for _, l := range one.Links {
					out.links = append(out.links, "00-"+hex.EncodeToString(l.TraceId)+"-"+hex.EncodeToString(l.SpanId)+"-01")
				}
				for _, a := range one.Attributes {
					out.attributes[a.Key] = fmt.Sprint(a.Value.GetStringValue(), a.Value.GetIntValue())
				}
				s.seen = append(s.seen, out)
			}
		}
	}
}

// of returns the first span with a name in a trace, in any trace if trace is empty.
func (s *spans) of(name, trace string) (receivedSpan, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.seen {
		if one.name == name && (trace == "" || one.trace == trace) {
			return one, true
		}
	}
	return receivedSpan{}, false
}

func (s *spans) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

const tracedServer = `apps:
  - id: app-id
    key: app-key
    secret: app-secret
    webhooks: [{url: %q}]
tracing: {endpoint: %q, sample_ratio: %s, service_name: here}
`

// traced sends an unsigned request, with a traceparent unless parent is empty.
func traced(t *testing.T, s *server, method, path, body, parent string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if parent != "" {
		r.Header.Set("traceparent", parent)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", path, answer.StatusCode, text)
	}
}

// TestRun09TracesGoOn: a publish continues the sender's trace if the sender records it, a read of the history
// is traced, and so is a webhook.
func TestRun09TracesGoOn(t *testing.T) {
	t.Parallel()
	got := &spans{}
	otlp := httptest.NewServer(got)
	defer otlp.Close()
	hooked := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hooked <- r.Header.Get("traceparent") }))
	defer hook.Close()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, fmt.Sprintf(tracedServer, hook.URL, otlp.URL+"/v1/traces", "1")))
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const event = `{"name":"e","channel":"c","data":"a-secret-text"}`
	traced(t, s, http.MethodPost, "/apps/app-id/events", event, "00-"+trace+"-"+parent+"-01")
	traced(t, s, http.MethodGet, "/apps/app-id/channels/c/history", "", "")
	// The sender of this request does not record it.
	const unwanted = "1af7651916cd43dd8448eb211c80319c"
	traced(t, s, http.MethodPost, "/apps/app-id/events", event, "00-"+unwanted+"-"+parent+"-00")
	stop := (&apiBook{t: t, s: s}).openStream("app-key", "c")
	defer stop()
	header := <-hooked
	var publish, store, history, webhook receivedSpan
	eventually(t, "all spans have arrived", func() bool {
		var ok [4]bool
		publish, ok[0] = got.of("events", trace)
		store, ok[1] = got.of("store", trace)
		history, ok[2] = got.of("history", "")
		webhook, ok[3] = got.of("webhook", "")
		return ok == [4]bool{true, true, true, true}
	})
	if publish.parent != parent || publish.service != "here" || publish.attributes["sluice.app"] != "app-id0" || publish.attributes["http.response.status_code"] != "200" || publish.attributes["sluice.events"] != "1" {
		t.Errorf("the publish is %+v", publish)
	}
	if store.parent != publish.id {
		t.Errorf("the wait for the log is %+v of %+v", store, publish)
	}
	if history.attributes["sluice.channel"] != "c0" || history.parent != "" {
		t.Errorf("the reading is %+v", history)
	}
	if header != "00-"+webhook.trace+"-"+webhook.id+"-01" {
		t.Errorf("the receiver of the webhook got %q of %+v", header, webhook)
	}
	// The webhook's span links to the event that caused it, on whichever gateway that happened.
	occupied, ok := got.of("channel_occupied", "")
	if want := "00-" + occupied.trace + "-" + occupied.id + "-01"; !ok || len(webhook.links) != 1 || webhook.links[0] != want {
		t.Errorf("the webhook has links to %v, want one to %+v", webhook.links, occupied)
	}
	if one, ok := got.of("events", unwanted); ok {
		t.Errorf("what its sender does not record is recorded: %+v", one)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if text := fmt.Sprint(got.seen); strings.Contains(text, "a-secret-text") || strings.Contains(text, "app-secret") {
		t.Errorf("traces tell data: %s", text)
	}
}

// TestRun09ACollectorThatIsAwayKeepsNobodyUp: an unreachable collector delays neither requests nor the stop.
func TestRun09ACollectorThatIsAwayKeepsNobodyUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir, fmt.Sprintf(tracedServer, "http://127.0.0.1:1", "http://127.0.0.1:1/v1/traces", "1")))
	traced(t, s, http.MethodPost, "/apps/app-id/events", `{"name":"e","channel":"c","data":"x"}`, "")
	eventually(t, "it says so", func() bool { return strings.Contains(s.logs.String(), "traces are not taken by their receiver") })
	s.stop()
}

// TestRun09StrangersAreNotRecorded: a request without a valid signature cannot cause a recorded span.
func TestRun09StrangersAreNotRecorded(t *testing.T) {
	t.Parallel()
	got := &spans{}
	otlp := httptest.NewServer(got)
	defer otlp.Close()
	dir := t.TempDir()
	s := serve(t, dir, strings.Replace(config(dir, fmt.Sprintf(tracedServer, "http://127.0.0.1:1", otlp.URL, "1")), "mode: development", "mode: production", 1))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.HTTP+"/apps/app-id/events", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	// When it stops, the server sends the spans that it still has.
	s.stop()
	if answer.StatusCode != http.StatusUnauthorized || got.count() != 0 {
		t.Errorf("%d, and %d spans", answer.StatusCode, got.count())
	}
}

// TestRun09WhatIsPlayedAgainIsRecorded: spans are recorded for subscriptions that replay history, and for
// replays at the command line, whose requests are child spans.
func TestRun09WhatIsPlayedAgainIsRecorded(t *testing.T) {
	t.Parallel()
	got := &spans{}
	otlp := httptest.NewServer(got)
	defer otlp.Close()
	dir := t.TempDir()
	yaml := config(dir, "tracing: {endpoint: \""+otlp.URL+"\", sample_ratio: 1}", "connection_recovery: {enabled: true}")
	s := serve(t, dir, yaml)
	publish := func() {
		traced(t, s, http.MethodPost, "/apps/app-id/events", `{"name":"e","channel":"c","data":"a-secret-text"}`, "")
	}
	publish()
	first := dialWire(t, s.HTTP, fmt.Sprintf(shake, "/app/app-key?protocol=2", ""))
	first.until("connection_established")
	first.say(frame(`{"event":"sockudo:subscribe","data":{"channel":"c"}}`))
	first.until("subscription_succeeded")
	first.until("serial")
	m := regexp.MustCompile(`subscription_succeeded.*?stream_id\\*":\\*"([^"\\]+)\\*".*?serial\\*":(\d+)`).FindSubmatch(first.seen)
	if m == nil {
		t.Fatalf("the subscription has no place: %q", first.seen)
	}
	publish()
	publish()
	again := dialWire(t, s.HTTP, fmt.Sprintf(shake, "/app/app-key?protocol=2", ""))
	again.until("connection_established")
	again.say(frame(`{"event":"sockudo:subscribe","data":{"channel":"c"}}`))
	again.say(frame(fmt.Sprintf(`{"event":"sockudo:resume","data":{"channel_positions":{"c":{"stream_id":"%s","serial":%s}}}}`, m[1], m[2])))
	again.until("resume_success")
	for _, wish := range []string{`"rewind":2`, `"rewind":{"latest":true}`} {
		w := dialWire(t, s.HTTP, fmt.Sprintf(shake, "/app/app-key?protocol=2", ""))
		w.until("connection_established")
		w.say(frame(`{"event":"sockudo:subscribe","data":{"channel":"c",` + wish + `}}`))
		w.until("_complete")
	}
	file := filepath.Join(dir, "replay.yaml")
	write(t, file, []byte(yaml))
	out, err := exec.CommandContext(t.Context(), tools.sluice, "replay", "c", "--speed", "max", "--config", file, "--url", s.HTTP).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := map[string]receivedSpan{}
	for name, events := range map[string]string{"resume": "2", "rewind": "2", "snapshot": "1", "replay": ""} {
		eventually(t, name+" is recorded", func() (ok bool) { found[name], ok = got.of(name, ""); return ok })
		if one := found[name]; one.parent != "" || one.attributes["sluice.events"] != events || one.attributes["sluice.channel"] != "c0" {
			t.Errorf("%s is %+v", name, one)
		}
	}
	eventually(t, "requests of the replay are parts of it", func() bool {
		one, ok := got.of("history", found["replay"].trace)
		return ok && one.parent == found["replay"].id
	})
	got.mu.Lock()
	defer got.mu.Unlock()
	if text := fmt.Sprint(got.seen); strings.Contains(text, "a-secret-text") {
		t.Errorf("traces tell data: %s", text)
	}
}
