package timing

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/series"
)

func gathered(t *testing.T, registry *prometheus.Registry) map[string]*dto.Histogram {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.Histogram{}
	for _, f := range families {
		for _, m := range f.Metric {
			out[f.GetName()+" "+m.Label[0].GetValue()] = m.Histogram
		}
	}
	return out
}

// TestRun08DeliveryIsTimedByTheClockOfTheLog: delivery is timed by the clock of the log if that differs from
// the local one, and is never negative.
func TestRun08DeliveryIsTimedByTheClockOfTheLog(t *testing.T) {
	for _, c := range []struct {
		name          string
		ahead, stored time.Duration // of the log ahead of this machine, and of the store before now
		least, most   float64
	}{
		{"clocks that agree", 0, 300 * time.Millisecond, .3, 5},
		{"a log that is known late", -500 * time.Millisecond, 300 * time.Millisecond, .3, 5},
		{"a log an hour ahead", time.Hour, -time.Hour + 300*time.Millisecond, .3, 5},
		{"a log an hour behind", -time.Hour, time.Hour + 300*time.Millisecond, .3, 5},
		{"stored in the future", 0, -time.Minute, 0, 0},
	} {
		registry := prometheus.NewRegistry()
		d := NewDelivery(new(series.Apps), registry, "x_", "1")
		d.Begin("a")
		if h := gathered(t, registry)["x_delivery_seconds a"]; h == nil || h.GetSampleCount() != 0 {
			t.Fatalf("at the start: %v", h)
		}
		tell := d.Against(func() time.Time { return time.Now().Add(c.ahead) })
		stored := time.Now().Add(-c.stored)
		tell([]fanout.Handed{{App: "a", Stored: stored}, {App: "a", Stored: stored}})
		h := gathered(t, registry)["x_delivery_seconds a"]
		if mean := h.GetSampleSum() / 2; h.GetSampleCount() != 2 || mean < c.least || mean > c.most {
			t.Errorf("%s: %d of %v s, want %v to %v", c.name, h.GetSampleCount(), mean, c.least, c.most)
		}
	}
}

// TestRun06HistogramsHaveBothKindsOfBuckets: histograms have classic and native buckets.
func TestRun06HistogramsHaveBothKindsOfBuckets(t *testing.T) {
	registry := prometheus.NewRegistry()
	Histogram(registry, "x_seconds", "Help.", []string{"port"}, 1, 2).WithLabelValues("1").Observe(1.5)
	h := gathered(t, registry)["x_seconds 1"]
	if len(h.Bucket) != 2 || h.Bucket[1].GetCumulativeCount() != 1 || h.Schema == nil || len(h.PositiveSpan) == 0 {
		t.Errorf("%v", h)
	}
}

func BenchmarkHanded(b *testing.B) {
	d := NewDelivery(new(series.Apps), prometheus.NewRegistry(), "x_", "1")
	tell := d.Against(time.Now)
	list := []fanout.Handed{{App: "a", Stored: time.Now()}}
	b.ReportAllocs()
	for b.Loop() {
		tell(list)
	}
}
