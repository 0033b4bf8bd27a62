// Package timing has the common parts of histograms: their buckets, and the time that events take from the log
// to the sockets.
package timing

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/series"
)

// Native buckets are in addition to the fixed ones: each is a tenth wider than the previous one, and there are
// at most nativeMost. The text format of metrics has only the fixed buckets.
const (
	nativeFactor = 1.1
	nativeMost   = 160
	nativeReset  = time.Hour
)

// Histogram registers a histogram with fixed and native buckets. bounds are in seconds.
func Histogram(registry prometheus.Registerer, name, help string, labels []string, bounds ...float64) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: bounds,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMost, NativeHistogramMinResetDuration: nativeReset,
	}, labels)
	registry.MustRegister(h)
	return h
}

// Delivery measures the time from when the log stored an event until a shard of the gateway has handed it to the
// sockets of its subscribers. It observes once per event and shard, so its cost does not depend on the number of
// sockets.
type Delivery struct {
	seconds *series.Histograms
	port    string
}

// NewDelivery registers the histogram.
func NewDelivery(apps *series.Apps, registry prometheus.Registerer, prefix, port string) *Delivery {
	return &Delivery{apps.Histogram(Histogram(registry, prefix+"delivery_seconds",
		"Time from when the log stored an event to when it was handed to the sockets of its subscribers: written, or queued for those that are behind. Once for each event and group of sockets (shard).",
		[]string{"app_id", "port"}, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)), port}
}

// Begin creates the histogram of an app.
func (d *Delivery) Begin(app string) { d.seconds.WithLabelValues(app, d.port) }

// clocksDiffer is the difference between the clocks of the log and of this machine beyond which the log's is
// used. Below that, the log's is the less exact one: it is estimated from answers, minus the time that these
// took.
const clocksDiffer = time.Second

// Against returns the function to call with events that were handed to sockets. now returns the time of the log,
// as this gateway estimates it.
func (d *Delivery) Against(now func() time.Time) func([]fanout.Handed) {
	return func(list []fanout.Handed) {
		at := time.Now()
		if log := now(); at.Sub(log).Abs() > clocksDiffer {
			at = log
		}
		for _, e := range list {
			d.seconds.WithLabelValues(e.App, d.port).Observe(max(at.Sub(e.Stored), 0).Seconds())
		}
	}
}
