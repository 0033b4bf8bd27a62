package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options returns the options of a short run.
func options(kind Kind, target Target) Options {
	return Options{
		Kind: kind, Target: target, Connections: 6, Channels: 2, Prefix: "bench-", Rate: 100, Size: 100, Duration: 200 * time.Millisecond,
		Warmup: 50 * time.Millisecond, Grace: 2 * time.Minute, InFlight: 64, ConnectRate: 1000, Timeout: 2 * time.Minute,
		SlowConnections: 2, SlowRate: 512, Rounds: 2,
	}
}

func do(t *testing.T, opt Options) *Result {
	t.Helper()
	r, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Do(t.Context())
	if err != nil {
		t.Fatalf("%v: %v, %v", opt.Kind, err, out.Errors)
	}
	return out
}

func (r *Result) numberOf(t *testing.T, name string) float64 {
	t.Helper()
	for _, n := range r.Numbers {
		if n.Name == name {
			return n.Value
		}
	}
	t.Fatalf("there is no %q in %+v", name, r.Numbers)
	return 0
}

func (r *Result) distributionOf(t *testing.T, name string) Distribution {
	t.Helper()
	for _, d := range r.Distributions {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("there is no %q in %+v", name, r.Distributions)
	return Distribution{}
}

// TestRun04EveryKindRunsAgainstAStrictServer runs every kind against an independent server of the protocol,
// with public, private and presence channels.
func TestRun04EveryKindRunsAgainstAStrictServer(t *testing.T) {
	for _, prefix := range []string{"bench-", "private-bench-", "presence-bench-"} {
		s := startStrict(t)
		kinds := []Kind{Subscribe}
		if prefix == "presence-bench-" {
			kinds = append(kinds, Publish, Churn, Reconnect, Slow)
		}
		for _, kind := range kinds {
			opt := options(kind, s.target())
			opt.Prefix = prefix
			out := do(t, opt)
			if len(out.Errors) > 0 || out.empty() || out.Interrupted || out.Kind != kind {
				t.Errorf("%s on %s: %+v", kind, prefix, out)
			}
			for _, d := range out.Distributions {
				if d.Count == 0 || d.P50 > d.P99 || d.P99 > d.Max+.001 || d.Min > d.P50 || d.Histogram == "" {
					t.Errorf("%s on %s: %+v", kind, prefix, d)
				}
			}
			switch kind {
			case Subscribe:
				// 20 messages were due, to 3 subscribers each.
				if d := out.distributionOf(t, "publish to delivery"); d.Count != 60 || out.numberOf(t, "missing deliveries") != 0 {
					t.Errorf("%s on %s: %+v", kind, prefix, out.Numbers)
				}
			case Reconnect:
				if d := out.distributionOf(t, "cut to subscribed again"); d.Count != 12 || out.numberOf(t, "did not come back") != 0 {
					t.Errorf("%s on %s: %+v", kind, prefix, out.Numbers)
				}
			case Slow:
				a, b := out.distributionOf(t, "publish to delivery without slow ones"), out.distributionOf(t, "publish to delivery beside slow ones")
				if a.Count != 30 || b.Count != 30 || out.numberOf(t, "slow subscribers") != 2 {
					t.Errorf("%s on %s: %+v", kind, prefix, out.Numbers)
				}
			}
		}
		for _, complaint := range s.complaints() {
			t.Errorf("%s: the server complains: %s", prefix, complaint)
		}
	}
}

// TestRun04ALateStartMissesNothing: publisher and audience measure the same stretch of time, however late the
// publisher begins it.
func TestRun04ALateStartMissesNothing(t *testing.T) {
	r, err := New(options(Subscribe, startStrict(t).target()))
	if err != nil {
		t.Fatal(err)
	}
	r.epoch = r.epoch.Add(-time.Second) // so that its beginning is not before the epoch
	d, f, p, err := r.audience(t.Context())
	if p == nil {
		t.Fatalf("there is no audience: %v", err)
	}
	defer f.close()
	defer p.close()
	begin := r.now() - 150*time.Millisecond
	s := &stretch{from: begin, end: begin + 200*time.Millisecond, delivered: newRecorder("late", 1)}
	d.current.Store(s)
	if end := p.publish(t.Context(), begin, s.from, s.end, nil); end != s.end {
		t.Errorf("it ended at %v, want %v", end, s.end)
	}
	r.arrive(t.Context(), s, 60)
	if n := s.count.Load(); n != 60 {
		t.Errorf("%d were delivered of the 60 that were due", n)
	}
}

// TestRun04AStallIsNotOmitted: a server that answers nothing for 300 ms delays the 30 messages that are due
// meanwhile. A closed loop, which waits for answers, would see one of them.
func TestRun04AStallIsNotOmitted(t *testing.T) {
	s := startStrict(t)
	var once sync.Once
	s.delay = func() { once.Do(func() { <-time.After(300 * time.Millisecond) }) }
	opt := options(Publish, s.target())
	opt.Warmup, opt.Duration, opt.InFlight = 0, 600*time.Millisecond, 1
	out := do(t, opt)
	d := out.distributionOf(t, "publish to answer")
	// At least a quarter of the 60 waited for longer than 100 ms, although only one was in flight: a message
	// counts from the time at which it was due.
	if d.Count != 60 || d.P90 < 100 || out.Generator.Held == 0 {
		t.Errorf("a stall is hidden: %+v, %+v", d, out.Generator)
	}
	if !slices.ContainsFunc(out.Notes, func(n string) bool { return strings.Contains(n, "the server was waited for") }) {
		t.Errorf("nothing says that the server was waited for: %q", out.Notes)
	}
}

// TestRun04WhatIsInterruptedHasItsResult: an interrupted run has a result, in any phase.
func TestRun04WhatIsInterruptedHasItsResult(t *testing.T) {
	s := startStrict(t)
	for _, kind := range []Kind{Subscribe, Publish, Churn, Reconnect, Slow} {
		opt := options(kind, s.target())
		opt.Duration, opt.Rounds, opt.Spread = time.Hour, 1000, 10*time.Millisecond
		ctx, stop := context.WithCancel(t.Context())
		seen := atomic.Int64{}
		opt.Progress = func(_ float64, text string) {
			// At the first numbers nothing may have happened yet.
			nothing := strings.HasPrefix(text, "0 of ") || strings.Contains(text, "round 1: 0 of ") || strings.Contains(text, "0 answered")
			if !strings.Contains(text, "connected") && !nothing && seen.Add(1) > 3 {
				stop()
			}
		}
		r, err := New(opt)
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.Do(ctx)
		stop()
		if err != nil || !out.Interrupted || out.Seconds > 60 || len(out.Errors) > 0 || out.empty() {
			t.Errorf("%s: %v, %+v", kind, err, out)
		}
		var text bytes.Buffer
		if err := out.Print(&text, nil); err != nil || !strings.Contains(text.String(), "it was interrupted") {
			t.Errorf("%s: %v\n%s", kind, err, &text)
		}
	}
}

// TestRun04ErrorsAreCountedByWhy: errors are counted by cause, and a run without any number is an error.
func TestRun04ErrorsAreCountedByWhy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"over the limit"}`, http.StatusTooManyRequests)
	}))
	defer refusing.Close()
	s := startStrict(t)
	wrongKey := s.target()
	wrongKey.Key = "wrong"
	wrongSecret := s.target()
	wrongSecret.Secret = "wrong"
	for _, c := range []struct {
		name, want string
		kind       Kind
		target     Target
	}{
		{"nobody there", "connection refused", Publish, Target{URL: nobody, AppID: "a", Key: "k", Secret: "s"}},
		{"nobody there for connections", "connection refused", Subscribe, Target{URL: nobody, AppID: "a", Key: "k", Secret: "s"}},
		{"a server that refuses", "status 429: over the limit", Publish, Target{URL: refusing.URL, AppID: "a", Key: "k", Secret: "s"}},
		{"no WebSocket", `answered "429 Too Many Requests"`, Churn, Target{URL: refusing.URL, AppID: "a", Key: "k", Secret: "s"}},
		{"a wrong key", "no such app (4001)", Reconnect, wrongKey},
		{"a wrong secret", "status 401", Publish, wrongSecret},
	} {
		r, err := New(options(c.kind, c.target))
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.Do(t.Context())
		if !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %v", c.name, err)
		}
		found := false
		for what, n := range out.Errors {
			found = found || strings.Contains(what, c.want) && n > 0
		}
		if !found {
			t.Errorf("%s: %v, want %q", c.name, out.Errors, c.want)
		}
	}
}

// TestRun04TheGeneratorMeasuresItself: the generator measures its own cost before a run and as a run.
func TestRun04TheGeneratorMeasuresItself(t *testing.T) {
	opt := options(Self, Target{})
	out, err := DoSelf(t.Context(), opt)
	if err != nil || out.Kind != Self || out.numberOf(t, "missing deliveries") != 0 || out.Generator.CPUPerMessage < 0 {
		t.Errorf("%v, %+v", err, out)
	}
	s := startStrict(t)
	opt = options(Publish, s.target())
	opt.Calibrate = true
	o := do(t, opt).Generator.Overhead
	if o == nil || o.CPUPerDelivery <= 0 && o.CPUPerPublish <= 0 || o.DeliveryP99 <= 0 {
		t.Errorf("the overhead: %+v", o)
	}
}

func TestRun04OptionsAreValidated(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Options)
	}{
		{"rate is 0", func(o *Options) { o.Rate = 0 }},
		{"size is 10", func(o *Options) { o.Size = 10 }},
		{"--connections is -1", func(o *Options) { o.Connections = -1 }},
		{"duration is 0s", func(o *Options) { o.Duration = 0 }},
		{"--channels is 9, must not be more than --connections, 6", func(o *Options) { o.Channels = 9 }},
		{"prefix", func(o *Options) { o.Prefix = "with a blank" }},
		{"prefix", func(o *Options) { o.Prefix = strings.Repeat("x", 300) }},
		{"slow-rate is 0", func(o *Options) { o.SlowRate = 0 }},
		{"no address", func(o *Options) { o.Target.URL = ":" }},
	} {
		opt := options(Slow, Target{URL: "http://127.0.0.1:1"})
		c.change(&opt)
		if _, err := New(opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestRun04ResultsAreReadAndCompared(t *testing.T) {
	s := startStrict(t)
	now := do(t, options(Publish, s.target()))
	text, err := json.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "before.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := ReadResult(file)
	if err != nil {
		t.Fatal(err)
	}
	before.Settings.Rate, before.Environment.Kernel, before.Interrupted = 7, "another", true
	before.Numbers = append(before.Numbers, Number{Name: "gone since", Value: 1})
	for i := range now.Distributions {
		now.Distributions[i].P99 = 3 * before.Distributions[i].P99
	}
	var table bytes.Buffer
	if err := now.Print(&table, before); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOW", "BEFORE", "CHANGE", "+200.0 % !", "gone since", "differ in settings", "differ in kernel", "the earlier result is of a run that was interrupted"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("there is no %q in\n%s", want, &table)
		}
	}
	for name, text := range map[string]string{"another format": `{"format":2,"kind":"publish"}`, "no result": `{}`, "no JSON": `x`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadResult(file); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}
