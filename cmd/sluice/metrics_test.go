package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
)

// TestMetricsAreDocumented: the table of docs/operations.md names all metrics and no others.
func TestMetricsAreDocumented(t *testing.T) {
	c, err := configs.Load(configs.Sources{File: write(t, "sluice.yaml", `
port: 0
host: 127.0.0.1
metrics: {port: 0}
shutdown: {ready_delay_seconds: 0}
delta_compression: {cluster_coordination: true}
nats: {embedded: {port: -1, store_dir: `+t.TempDir()+`}}
apps: [{id: a, key: k, secret: s, webhooks: [{url: "http://127.0.0.1:1"}]}]
`)})
	if err != nil {
		t.Fatal(err)
	}
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	_, lines := newLog(io.Discard, c)
	defer lines.close()
	lines.register(registry, c.Metrics.Prefix)
	b, err := openBackend(t.Context(), c, 64, log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }()
	opt, limits := nodeOptions(c, b, log, registry), measure(c)
	openTracing(c, log, registry)
	r := &reloader{backend: b, inForce: c}
	r.share()
	r.register(registry, c.Metrics.Prefix)
	opt.Settings = r.shared.Load
	opt.Descriptors, opt.Memory = limits.descriptors, limits.memory
	node, err := gateway.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.export(registry, node.Addr())
	// Some metrics are made when they are collected, and have no description.
	served, labels := map[string]bool{}, map[string]map[string]bool{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name, ours := strings.CutPrefix(f.GetName(), c.Metrics.Prefix); ours {
			served[name] = true
			labels[name] = labelsOf(f)
		}
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := node.Run(ended); err != nil {
		t.Error(err)
	}

	descriptions := make(chan *prometheus.Desc)
	go func() { registry.Describe(descriptions); close(descriptions) }()
	name := regexp.MustCompile(`fqName: "` + c.Metrics.Prefix + `([a-z_]+)".*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	for d := range descriptions {
		if m := name.FindStringSubmatch(d.String()); m != nil {
			served[m[1]] = true
			labels[m[1]] = describedLabels(m[2] + "," + m[3])
		}
	}
	checkQueriedLabels(t, labels)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| Metric | Meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string]bool{}
	for _, line := range strings.Split(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cell, -1) {
			documented[m[1]] = true
		}
	}
	if len(served) < 30 {
		t.Fatalf("only %d metrics were found", len(served))
	}
	for m := range served {
		if !documented[m] {
			t.Errorf("%s is served and not documented", m)
		}
	}
	for m := range documented {
		if !served[m] {
			t.Errorf("%s is documented and not served", m)
		}
	}
}
