package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// labelsOf returns the names of the labels of a metric's samples.
func labelsOf(f *dto.MetricFamily) map[string]bool {
	out := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			out[l.GetName()] = true
		}
	}
	return out
}

// describedLabels parses the labels in a description: names, some of them with a value.
func describedLabels(text string) map[string]bool {
	out := map[string]bool{}
	for one := range strings.SplitSeq(text, ",") {
		name, _, _ := strings.Cut(one, "=")
		out[strings.TrimSpace(name)] = true
	}
	return out
}

var (
	selected = regexp.MustCompile(`sockudo_([a-z_]+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	grouped  = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
)

// wrongLabels returns the labels that a query selects or groups by and that none of its metrics has. labels
// holds the labels of the known metrics, by name.
func wrongLabels(query string, labels map[string]map[string]bool) (wrong []string) {
	all := map[string]bool{"instance": true, "job": true, "le": true}
	for _, m := range selected.FindAllStringSubmatch(query, -1) {
		has, known := labels[strings.TrimSuffix(m[1], "_bucket")]
		if !known {
			return nil
		}
		for name := range has {
			all[name] = true
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !has[l[1]] && l[1] != "instance" && l[1] != "job" && l[1] != "le" {
				wrong = append(wrong, m[1]+" has no "+l[1])
			}
		}
	}
	for _, m := range grouped.FindAllStringSubmatch(query, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			if name = strings.TrimSpace(name); name != "" && !all[name] {
				wrong = append(wrong, "nothing has "+name)
			}
		}
	}
	return wrong
}

// checkQueriedLabels compares the dashboard and the alert rules with the served labels.
func checkQueriedLabels(t *testing.T, labels map[string]map[string]bool) {
	t.Helper()
	seen := 0
	for file, line := range map[string]*regexp.Regexp{
		"grafana.json": regexp.MustCompile(`(?m)"expr": "(.*)",?$`), "alerts.yaml": regexp.MustCompile(`(?m)expr: (.*)$`),
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "configs", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			seen++
			query := strings.ReplaceAll(m[1], `\"`, `"`)
			for _, wrong := range wrongLabels(query, labels) {
				t.Errorf("%s: %s: %s", file, query, wrong)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d queries were found", seen)
	}
}

func TestRun06WrongLabelsAreFound(t *testing.T) {
	labels := map[string]map[string]bool{"gaps_total": {"reason": true, "port": true}, "seconds": {"route": true}}
	for query, wrong := range map[string]bool{
		`sum by (instance, reason) (rate(sockudo_gaps_total{reason="epoch"}[5m]))`:      false,
		`histogram_quantile(0.5, sum by (le, route) (sockudo_seconds_bucket{job="a"}))`: false,
		`rate(sockudo_gaps_total{code="epoch"}[5m])`:                                    true,
		`sum by (code) (rate(sockudo_gaps_total[5m]))`:                                  true,
	} {
		if got := wrongLabels(query, labels); (len(got) > 0) != wrong {
			t.Errorf("%s: %v", query, got)
		}
	}
}
