// Package series has metric series that are removed together with their apps.
package series

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/app"
)

// Apps are metric series whose first label is the id of an app. They are removed with the app. After that,
// values for the app are discarded, so that late ones cannot create its series again, and an app that comes back
// begins at 0.
//
// Series of the id "" belong to no app and stay. Before [Apps.Begin], every app counts as present. It is safe
// for concurrent use.
type Apps struct {
	registry atomic.Pointer[app.Registry]

	mu    sync.Mutex
	vecs  []*prometheus.MetricVec
	known map[string]bool
}

// nowhere and unobserved take values for removed apps.
var (
	nowhere    = prometheus.NewCounter(prometheus.CounterOpts{Name: "nowhere"})
	unobserved = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "nowhere"})
)

// Counter registers counters whose first label is the id of an app.
func (a *Apps) Counter(registry prometheus.Registerer, opts prometheus.CounterOpts, labels ...string) *Counters {
	c := &Counters{a, prometheus.NewCounterVec(opts, labels)}
	registry.MustRegister(c.vec)
	a.keep(c.vec.MetricVec)
	return c
}

// Histogram adds a registered histogram whose first label is the id of an app.
func (a *Apps) Histogram(vec *prometheus.HistogramVec) *Histograms {
	a.keep(vec.MetricVec)
	return &Histograms{a, vec}
}

func (a *Apps) keep(v *prometheus.MetricVec) {
	a.mu.Lock()
	a.vecs = append(a.vecs, v)
	a.mu.Unlock()
}

// Begin must be called with the registry of apps, and again after each change of it. It removes the series of
// apps that were removed since, and returns their ids.
func (a *Apps) Begin(apps *app.Registry) (gone []string) {
	a.registry.Store(apps)
	a.mu.Lock()
	defer a.mu.Unlock()
	known := map[string]bool{}
	for _, id := range apps.IDs() {
		known[id] = true
	}
	for id := range a.known {
		if known[id] {
			continue
		}
		gone = append(gone, id)
		for _, v := range a.vecs {
			v.DeletePartialMatch(prometheus.Labels{"app_id": id})
		}
	}
	a.known = known
	return gone
}

// There reports whether an app is present.
func (a *Apps) There(id string) bool {
	apps := a.registry.Load()
	return id == "" || apps == nil || apps.ByID(id) != nil
}

func (a *Apps) ids() []string {
	if apps := a.registry.Load(); apps != nil {
		return apps.IDs()
	}
	return nil
}

// Counters are counters by app.
type Counters struct {
	apps *Apps
	vec  *prometheus.CounterVec
}

// Describe implements [prometheus.Collector].
func (c *Counters) Describe(to chan<- *prometheus.Desc) { c.vec.Describe(to) }

// Collect implements [prometheus.Collector].
func (c *Counters) Collect(to chan<- prometheus.Metric) { c.vec.Collect(to) }

// WithLabelValues returns the counter with these labels. The first label is the id of an app.
func (c *Counters) WithLabelValues(labels ...string) prometheus.Counter {
	if !c.apps.There(labels[0]) {
		return nowhere
	}
	one := c.vec.WithLabelValues(labels...)
	// If the app was removed meanwhile, Begin may have missed the series that was just created.
	if !c.apps.There(labels[0]) {
		c.vec.DeleteLabelValues(labels...)
	}
	return one
}

// Histograms are histograms by app.
type Histograms struct {
	apps *Apps
	vec  *prometheus.HistogramVec
}

// WithLabelValues returns the histogram with these labels. The first label is the id of an app.
func (h *Histograms) WithLabelValues(labels ...string) prometheus.Observer {
	if !h.apps.There(labels[0]) {
		return unobserved
	}
	one := h.vec.WithLabelValues(labels...)
	if !h.apps.There(labels[0]) { // see [Counters.WithLabelValues]
		h.vec.DeleteLabelValues(labels...)
	}
	return one
}

// Level is a number for each app that rises and falls. A number other than 0 is kept even if the app is removed,
// because it will be lowered again; it is exported only while the app is present.
type Level struct {
	apps *Apps
	mu   sync.Mutex
	at   map[string]int
}

// Level registers a gauge by app that [Level.Add] changes.
func (a *Apps) Level(registry prometheus.Registerer, opts prometheus.GaugeOpts) *Level {
	l := &Level{apps: a, at: map[string]int{}}
	a.Gauge(registry, opts, func() map[string]float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		all := map[string]float64{}
		for _, id := range a.ids() {
			all[id] = 0
		}
		for id, n := range l.at {
			all[id] = float64(n)
		}
		return all
	})
	return l
}

// Add adds change to the number of an app.
func (l *Level) Add(id string, change int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at[id] += change; l.at[id] == 0 {
		delete(l.at, id)
	}
}

// Gauge registers gauges of apps. read returns their values by id; those of apps that are not present are not
// exported.
func (a *Apps) Gauge(registry prometheus.Registerer, opts prometheus.GaugeOpts, read func() map[string]float64) {
	registry.MustRegister(&gauge{a, prometheus.NewDesc(opts.Name, opts.Help, []string{"app_id"}, opts.ConstLabels), read})
}

type gauge struct {
	apps *Apps
	desc *prometheus.Desc
	read func() map[string]float64
}

// Describe implements [prometheus.Collector].
func (g *gauge) Describe(to chan<- *prometheus.Desc) { to <- g.desc }

// Collect implements [prometheus.Collector].
func (g *gauge) Collect(to chan<- prometheus.Metric) {
	for id, n := range g.read() {
		if g.apps.There(id) {
			to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, n, id)
		}
	}
}
