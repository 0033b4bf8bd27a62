package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/load"
)

// TestRun04BenchAgainstAServer runs each kind for a moment, with a JSON result and a comparison with an
// earlier one.
func TestRun04BenchAgainstAServer(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	short := map[string][]string{
		"subscribe": {"--connections", "5", "--channels", "2", "--duration", "300ms", "--warmup", "0"},
		"publish":   {"--duration", "300ms", "--warmup", "0"},
		"churn":     {"--duration", "300ms", "--rate", "50"},
		"reconnect": {"--connections", "10", "--rounds", "2"},
		"slow":      {"--connections", "5", "--slow", "2", "--duration", "400ms", "--warmup", "0", "--prefix", "private-bench-"},
	}
	for kind, flags := range short {
		file := filepath.Join(dir, kind+".json")
		args := append([]string{"bench", kind, "--no-calibrate"}, flags...)
		table := r.succeed("", append(args, "--json", file)...)
		got, err := load.ReadResult(file)
		if err != nil || len(got.Errors) > 0 || len(got.Distributions) == 0 || got.Distributions[0].Count == 0 {
			t.Fatalf("%s: %v, %+v", kind, err, got)
		}
		e := got.Environment
		if !strings.HasPrefix(e.Server, "sluice with jetstream") || e.Generator == "" || e.Cores == 0 || e.Go == "" || e.CPU == "" || e.Kernel == "" || !e.SameMachine ||
			!strings.HasPrefix(e.Command, "sluice bench "+kind) {
			t.Errorf("%s: the environment: %+v", kind, e)
		}
		for _, want := range []string{strings.ToUpper(kind), "p99.9", "of processor time a message", "kernel"} {
			if !strings.Contains(table, want) {
				t.Errorf("%s: no %q in\n%s", kind, want, table)
			}
		}
		if kind != "publish" {
			continue
		}
		status, out, errors := execute(t, "", append(args, "--compare", file, "--json", "-", "--server-name", "mine", "--url", r.url)...)
		var again load.Result
		if err := json.Unmarshal([]byte(out), &again); err != nil || status != exitOK || again.Environment.Server != "mine" || !strings.Contains(errors, "BEFORE") {
			t.Errorf("beside an earlier one: status %d, %v\n%s\n%s", status, err, out, errors)
		}
	}
}

// TestRun04BenchEndsWhenItIsTold: an interrupted bench ends with the numbers so far and without an error.
func TestRun04BenchEndsWhenItIsTold(t *testing.T) {
	asked := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "another one")
		if r.Method == http.MethodPost {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "result.json")
	c := start(t, nil, "bench", "publish", "--duration", "1h", "--warmup", "0", "--rate", "50", "--no-calibrate", "--url", server.URL, "--json", file)
	for range 2 {
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatal("nothing is published")
		}
	}
	c.interrupt()
	if status := c.wait(); status != exitOK || !strings.Contains(c.out.String(), "it was interrupted") {
		t.Errorf("status %d\n%s%s", status, c.out, c.errors)
	}
	if got, err := load.ReadResult(file); err != nil || !got.Interrupted || got.Seconds > 600 || got.Environment.Server != "another one" {
		t.Errorf("%v, %+v", err, got)
	}
}

func TestRun04BenchIsToldWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		status int
		args   []string
	}{
		{"say what to measure", exitUsage, nil},
		{"Did you mean reconnect?", exitUsage, []string{"recconect"}},
		{"unknown flag: --slow", exitUsage, []string{"publish", "--slow", "1"}},
		{"rate is 0", exitUsage, []string{"publish", "--rate", "0"}},
		{"has format 0", exitFailure, []string{"publish", "--compare", file}},
		{"Is `sluice serve` running?", exitFailure, []string{"publish", "--url", "127.0.0.1:1", "--duration", "100ms", "--warmup", "0", "--no-calibrate"}},
	} {
		status, _, errors := execute(t, "", append([]string{"bench"}, c.args...)...)
		if status != c.status || !strings.Contains(errors, c.want) {
			t.Errorf("%q: status %d, %q, want %q", c.args, status, errors, c.want)
		}
	}
}
