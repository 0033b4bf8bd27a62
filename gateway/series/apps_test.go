package series

import (
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/app"
)

// shown returns the values of a scrape by name and app.
func shown(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			out[f.GetName()+" "+m.Label[0].GetValue()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func registryOf(ids ...string) (all []*app.App) {
	for _, id := range ids {
		all = append(all, &app.App{ID: id, Key: "key of " + id})
	}
	return all
}

// TestTrust12SeriesGoWithTheirApp: late uses do not bring the series of a removed app back.
func TestTrust12SeriesGoWithTheirApp(t *testing.T) {
	registry, apps := prometheus.NewRegistry(), app.NewRegistry(registryOf("a", "b")...)
	var all Apps
	counters := all.Counter(registry, prometheus.CounterOpts{Name: "c"}, "app_id", "port")
	level := all.Level(registry, prometheus.GaugeOpts{Name: "l"})
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "h"}, []string{"app_id", "port"})
	registry.MustRegister(vec)
	histograms := all.Histogram(vec)
	use := func(ids ...string) {
		for _, id := range ids {
			counters.WithLabelValues(id, "1").Inc()
			histograms.WithLabelValues(id, "1").Observe(1)
			level.Add(id, 1)
		}
	}
	check := func(when string, want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, shown(t, registry)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	all.Begin(apps)
	use("a", "b")
	counters.WithLabelValues("", "1").Inc()
	both := map[string]float64{"c ": 1, "c a": 1, "c b": 1, "h a": 1, "h b": 1, "l a": 1, "l b": 1}
	check("both are there", both)

	held := counters.WithLabelValues("a", "1")
	apps.Replace(registryOf("b")...)
	use("a")
	if gone := all.Begin(apps); !cmp.Equal(gone, []string{"a"}) {
		t.Errorf("%v have gone", gone)
	}
	use("a")
	held.Inc()
	left := maps.Clone(both)
	maps.DeleteFunc(left, func(name string, _ float64) bool { return strings.HasSuffix(name, " a") })
	check("a is gone, and something comes late", left)

	apps.Replace(registryOf("a", "b")...)
	all.Begin(apps)
	back := maps.Clone(left)
	back["l a"] = 3 // they have not ended
	check("a is back", back)
	level.Add("a", -3)
	use("a")
	check("a counts from 0", both)
}

// TestTrust12NoRaceBringsSeriesBack: the same holds if an app is removed while it is counted.
func TestTrust12NoRaceBringsSeriesBack(t *testing.T) {
	for range 200 {
		registry, apps := prometheus.NewRegistry(), app.NewRegistry(registryOf("a")...)
		var all Apps
		counters := all.Counter(registry, prometheus.CounterOpts{Name: "c"}, "app_id")
		all.Begin(apps)
		var counting sync.WaitGroup
		for range 4 {
			counting.Go(func() {
				for range 20 {
					counters.WithLabelValues("a").Inc()
				}
			})
		}
		apps.Replace()
		all.Begin(apps)
		counting.Wait()
		if got := shown(t, registry); len(got) != 0 {
			t.Fatalf("%v is left", got)
		}
	}
}
