// Package timing has what metrics of a gateway have in common: the buckets of histograms, and
// the time that events take from the log to the sockets.
package timing

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/series"
)

// Native buckets lie beside the fixed ones: each is a tenth wider than the one before, at
// most so many of them. Whoever collects the text of the metrics sees the fixed ones alone.
const (
	nativeFactor = 1.1
	nativeMost   = 160
	nativeReset  = time.Hour
)

// Histogram registers a histogram with fixed and with native buckets. Bounds are in seconds.
func Histogram(registry prometheus.Registerer, name, help string, labels []string, bounds ...float64) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: bounds,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMost, NativeHistogramMinResetDuration: nativeReset,
	}, labels)
	registry.MustRegister(h)
	return h
}

// Delivery is the time from when the log stored an event to when a shard of the gateway has
// handed it to the sockets of its subscribers, once for each event and shard: however many
// sockets there are, it costs nothing for each of them.
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

// Begin has the histogram of an app there from the start.
func (d *Delivery) Begin(app string) { d.seconds.WithLabelValues(app, d.port) }

// clocksDiffer is how far the clock of the log may be from that of this machine before it is
// gone by. Below that it is the less exact one: it is known from answers, less the time that
// these took.
const clocksDiffer = time.Second

// Against returns what is to be told of events that were handed to sockets. now is the time of
// the log, as this gateway knows it.
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
