// Package series has series of metrics that go with their apps.
package series

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/app"
)

// Apps are series of metrics that are those of an app: their first label is its id. They go with
// the app. What is counted of one that is not there any more is counted nowhere, so that what
// comes late for it cannot bring its series back, and one that comes back begins at 0.
//
// Series of the id "" belong to no app and stay. Before [Apps.Begin] every app is there.
type Apps struct {
	registry atomic.Pointer[app.Registry]

	mu    sync.Mutex
	vecs  []*prometheus.MetricVec
	known map[string]bool
}

// nowhere and unobserved take what is counted of apps that are gone.
var (
	nowhere    = prometheus.NewCounter(prometheus.CounterOpts{Name: "nowhere"})
	unobserved = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "nowhere"})
)

// Counter registers counters, of which the first label is the id of an app.
func (a *Apps) Counter(registry prometheus.Registerer, opts prometheus.CounterOpts, labels ...string) *Counters {
	c := &Counters{a, prometheus.NewCounterVec(opts, labels)}
	registry.MustRegister(c.vec)
	a.keep(c.vec.MetricVec)
	return c
}

// Histogram takes over a histogram that is registered, of which the first label is the id of an app.
func (a *Apps) Histogram(vec *prometheus.HistogramVec) *Histograms {
	a.keep(vec.MetricVec)
	return &Histograms{a, vec}
}

func (a *Apps) keep(v *prometheus.MetricVec) {
	a.mu.Lock()
	a.vecs = append(a.vecs, v)
	a.mu.Unlock()
}

// Begin is to be called with the registry of apps, and again whenever that has changed. It
// removes the series of apps that have gone since, and returns their ids.
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

// There says whether an app is.
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

// Counters are counters of apps.
type Counters struct {
	apps *Apps
	vec  *prometheus.CounterVec
}

// Describe implements [prometheus.Collector].
func (c *Counters) Describe(to chan<- *prometheus.Desc) { c.vec.Describe(to) }

// Collect implements [prometheus.Collector].
func (c *Counters) Collect(to chan<- prometheus.Metric) { c.vec.Collect(to) }

// WithLabelValues returns the counter with these labels, the first of which is the id of an app.
func (c *Counters) WithLabelValues(labels ...string) prometheus.Counter {
	if !c.apps.There(labels[0]) {
		return nowhere
	}
	one := c.vec.WithLabelValues(labels...)
	// If the app has gone meanwhile, its series may have been removed just before this one was made.
	if !c.apps.There(labels[0]) {
		c.vec.DeleteLabelValues(labels...)
	}
	return one
}

// Histograms are histograms of apps.
type Histograms struct {
	apps *Apps
	vec  *prometheus.HistogramVec
}

// WithLabelValues returns the histogram with these labels, the first of which is the id of an app.
func (h *Histograms) WithLabelValues(labels ...string) prometheus.Observer {
	if !h.apps.There(labels[0]) {
		return unobserved
	}
	one := h.vec.WithLabelValues(labels...)
	if !h.apps.There(labels[0]) { // See [Counters.WithLabelValues].
		h.vec.DeleteLabelValues(labels...)
	}
	return one
}

// Level is a number for each app that rises and falls. It is kept as long as it is not 0, whether
// the app is there or not, for whatever raised it lowers it again; it is shown while the app is.
type Level struct {
	apps *Apps
	mu   sync.Mutex
	at   map[string]int
}

// Level registers a number for each app that [Level.Add] changes.
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

// Add changes the number of an app.
func (l *Level) Add(id string, change int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at[id] += change; l.at[id] == 0 {
		delete(l.at, id)
	}
}

// Gauge registers numbers of apps that read returns, by their ids. Those of apps that are not
// there are not shown.
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
