package gateway

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestMetricsSayWhatReadinessSays: a problem that keeps clients away shows in the metrics that alerts use, as
// it does in readiness.
func TestMetricsSayWhatReadinessSays(t *testing.T) {
	l, err := memory.New(memory.Options{Apps: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	a := &app.App{ID: "a", Key: "k", Secret: "s", Enabled: true, Limits: app.DefaultLimits}
	registry := prometheus.NewRegistry()
	var ailing atomic.Bool
	n, err := New(Options{Apps: app.NewRegistry(a), Log: l, Listen: "127.0.0.1:0", Registry: registry, Problems: func() []string {
		if ailing.Load() {
			return []string{"nobody can connect"}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() { cancel(); <-ended; _ = l.Close() }()
	numbers := func() (ready, problems float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			switch f.GetName() {
			case "sockudo_log_ready":
				ready = f.GetMetric()[0].GetGauge().GetValue()
			case "sockudo_log_problems":
				problems = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return ready, problems
	}
	if ready, problems := numbers(); ready != 1 || problems != 0 {
		t.Errorf("all is well, and log_ready is %v with %v problems", ready, problems)
	}
	ailing.Store(true)
	if ready, problems := numbers(); ready != 0 || problems != 1 {
		t.Errorf("nobody can connect, and log_ready is %v with %v problems", ready, problems)
	}
}
