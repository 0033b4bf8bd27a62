package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// documentedMetrics returns the names in the table of docs/operations.md, which TestMetricsAreDocumented
// compares with the served metrics.
func documentedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| Metric | Meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	out := map[string]bool{}
	for _, line := range strings.Split(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cell, -1) {
			out[m[1]] = true
		}
	}
	return out
}

var (
	inQuotes = regexp.MustCompile(`"[^"]*"`)
	selector = regexp.MustCompile(`\{[^}]*\}`)
	grouping = regexp.MustCompile(`\b(by|on|ignoring|without)\s*\([^)]*\)`)
	metric   = regexp.MustCompile(`\b[a-z][a-z0-9_]*_[a-z0-9_]+\b|\bup\b`)
)

// unknownMetrics returns the metric names of a query that are not served.
func unknownMetrics(query string, documented map[string]bool) (unknown []string, seen int) {
	bare := grouping.ReplaceAllString(selector.ReplaceAllString(inQuotes.ReplaceAllString(query, ""), ""), "")
	for _, name := range metric.FindAllString(bare, -1) {
		switch name {
		case "histogram_quantile", "label_values":
			continue
		// Prometheus itself makes the first one, and its client library the others.
		case "up", "process_open_fds", "process_cpu_seconds_total":
			seen++
			continue
		}
		seen++
		own, prefixed := strings.CutPrefix(name, "sockudo_")
		if !prefixed || !documented[own] && !documented[strings.TrimSuffix(own, "_bucket")] {
			unknown = append(unknown, name)
		}
	}
	return unknown, seen
}

// TestRun06DashboardAsksForMetricsThatExist checks every query of the dashboard.
func TestRun06DashboardAsksForMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("../../configs/deploy/grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title, Type, Description string
			Targets                  []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Type  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	documented, queries := documentedMetrics(t), 0
	for _, p := range board.Panels {
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("the panel %q has no description or no query", p.Title)
		}
		for _, q := range p.Targets {
			queries++
			if unknown, seen := unknownMetrics(q.Expr, documented); len(unknown) > 0 || seen == 0 {
				t.Errorf("the panel %q asks for %v: %s", p.Title, unknown, q.Expr)
			}
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries were found", queries)
	}
}

// TestRun06AlertsAskForMetricsThatExist checks every alert rule.
func TestRun06AlertsAskForMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("../../configs/deploy/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	documented, names := documentedMetrics(t), map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if unknown, seen := unknownMetrics(r.Expr, documented); len(unknown) > 0 || seen == 0 {
				t.Errorf("%s asks for %v: %s", r.Alert, unknown, r.Expr)
			}
			if names[r.Alert] || r.For == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["what_to_do"] == "" {
				t.Errorf("%s is there twice, or lacks a time, a severity, a summary or what to do", r.Alert)
			}
			names[r.Alert] = true
		}
	}
	if len(names) < 10 {
		t.Errorf("only %d rules were found", len(names))
	}
}

func TestRun06WrongQueriesAreFound(t *testing.T) {
	documented := documentedMetrics(t)
	for query, wrong := range map[string]bool{
		`rate(sockudo_gaps_total{instance=~"$instance"}[5m])`:                      false,
		`sum by (app_id) (sockudo_connected)`:                                      false,
		`histogram_quantile(0.5, rate(sockudo_http_request_seconds_bucket[5m]))`:   false,
		`process_open_fds / on (instance) (sockudo_descriptors_public > 0)`:        false,
		`rate(sockudo_gap_total[5m])`:                                              true,
		`rate(gaps_total[5m])`:                                                     true,
		`sum(rate(sockudo_gaps_total[5m])) / sum(rate(sockudo_no_such_total[5m]))`: true,
	} {
		if unknown, _ := unknownMetrics(query, documented); (len(unknown) > 0) != wrong {
			t.Errorf("%s: %v", query, unknown)
		}
	}
}

// labelsServed returns the labels of every metric, by its name without the prefix.
func labelsServed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	s := start(t, nil, "--port", "0", "--metrics-port", "0", "--metrics-prefix", "sockudo_", "--nats-embedded-port", "-1", "--nats-embedded-store-dir", t.TempDir(),
		"--shutdown-drain-seconds", "0", "--shutdown-ready-delay-seconds", "0", "--config", writeFile(t, "c.yaml", "mode: production\napps: [{id: a, key: k, secret: abcdefghijklmnopqrstuvwxyz, webhooks: [{url: \"http://127.0.0.1:1/\"}]}]\n"))
	s.errors.await(t, "sluice is serving")
	found := regexp.MustCompile(` metrics=(\S+)`).FindStringSubmatch(s.errors.String())
	if found == nil {
		t.Fatalf("no address in\n%s", s.errors)
	}
	out := map[string]map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^(sockudo_[a-z_]+)(?:\{(.*)\})? `).FindAllStringSubmatch(scrape(t, found[1]), -1) {
		if out[line[1]] == nil {
			out[line[1]] = map[string]bool{}
		}
		for _, l := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(line[2], -1) {
			out[line[1]][l[1]] = true
		}
	}
	s.interrupt()
	if status := s.wait(); status != exitOK {
		t.Errorf("status %d\n%s", status, s.errors)
	}
	return out
}

// TestRun08LabelsAreAlike: all metrics of a gateway have its port as a label, so that they can be joined.
func TestRun08LabelsAreAlike(t *testing.T) {
	for name, labels := range labelsServed(t) {
		switch own := strings.TrimPrefix(name, "sockudo_"); {
		// These belong to the process.
		case own == "build_info", own == "stderr_lines_lost_total", own == "trace_spans_total", strings.HasPrefix(own, "config_"):
		case !labels["port"]:
			t.Errorf("%s has no label port: %v", name, labels)
		}
	}
}
