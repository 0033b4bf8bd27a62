package main

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// look has the metrics of a server at one moment.
type look struct {
	at       time.Time
	families map[string]*dto.MetricFamily
}

// topView is the view of a server: present values, and rates since the previous look.
type topView struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version,omitempty"`
	State   string    `json:"state,omitempty"`

	Connections   float64 `json:"connections"`
	Subscriptions float64 `json:"subscriptions"`
	Members       float64 `json:"presence_members"`
	Channels      float64 `json:"channels"`

	Published  float64 `json:"publishes_per_second"`
	Delivered  float64 `json:"deliveries_per_second"`
	Frames     float64 `json:"frames_per_second"`
	Writes     float64 `json:"writes_per_second"`
	NetworkOut float64 `json:"machine_bytes_sent_per_second"`

	// DeliveryP50 and DeliveryP99 are the times from the log to the sockets in milliseconds, for deliveries
	// between the looks; -1 if there were none.
	DeliveryP50 float64 `json:"delivery_p50_ms"`
	DeliveryP99 float64 `json:"delivery_p99_ms"`
	// FeedQueue, ShardQueue and Publishing are events that wait for the feed, for the shards, and for the
	// acknowledgement of the log.
	FeedQueue  float64 `json:"feed_queue"`
	ShardQueue float64 `json:"shard_queue"`
	Publishing float64 `json:"publishing"`

	Blocked     float64 `json:"sockets_blocked_per_second"`
	Closed      float64 `json:"slow_sockets_closed"`
	Behind      float64 `json:"subscriptions_behind"`
	QueuedBytes float64 `json:"socket_queue_bytes"`

	MemoryHeld       float64 `json:"memory_held_bytes"`
	MemoryLimit      float64 `json:"memory_limit_bytes"`
	Resident         float64 `json:"resident_bytes"`
	Descriptors      float64 `json:"descriptors"`
	DescriptorsLimit float64 `json:"descriptors_limit"`
	CPU              float64 `json:"cpu_cores"`
	Gaps             float64 `json:"gaps"`
	Refused          float64 `json:"refused_per_second"`

	Apps []topApp `json:"apps"`
}

type topApp struct {
	ID            string  `json:"id"`
	Connections   float64 `json:"connections"`
	Subscriptions float64 `json:"subscriptions"`
	Members       float64 `json:"presence_members"`
	Published     float64 `json:"http_publishes_per_second"`
	ClientEvents  float64 `json:"client_events_per_second"`
	DeliveryP99   float64 `json:"delivery_p99_ms"`
}

// sum adds the values of a metric over the samples that have all labels.
func (l look) sum(name string, labels ...string) (total float64) {
	for _, m := range l.of(name, labels...) {
		switch {
		case m.Gauge != nil:
			total += m.Gauge.GetValue()
		case m.Counter != nil:
			total += m.Counter.GetValue()
		case m.Untyped != nil:
			total += m.Untyped.GetValue()
		}
	}
	return total
}

// of returns the samples of a metric that have all labels, given as alternating names and values.
func (l look) of(name string, labels ...string) (out []*dto.Metric) {
	for _, m := range l.families[name].GetMetric() {
		fits := true
		for i := 0; i+1 < len(labels); i += 2 {
			fits = fits && slices.ContainsFunc(m.Label, func(p *dto.LabelPair) bool { return p.GetName() == labels[i] && p.GetValue() == labels[i+1] })
		}
		if fits {
			out = append(out, m)
		}
	}
	return out
}

// values returns the values of a label of a metric, sorted.
func (l look) values(name, label string) (out []string) {
	for _, m := range l.families[name].GetMetric() {
		for _, p := range m.Label {
			if p.GetName() == label && !slices.Contains(out, p.GetValue()) {
				out = append(out, p.GetValue())
			}
		}
	}
	slices.Sort(out)
	return out
}

// viewOf computes the view from two looks.
func viewOf(before, now look, prefix string) topView {
	seconds := now.at.Sub(before.at).Seconds()
	rate := func(name string, labels ...string) float64 {
		if seconds <= 0 {
			return 0
		}
		// After a restart of the server, counters begin at 0.
		return max(now.sum(name, labels...)-before.sum(name, labels...), 0) / seconds
	}
	is := func(name string, labels ...string) float64 { return now.sum(prefix+name, labels...) }
	per := func(name string, labels ...string) float64 { return rate(prefix+name, labels...) }
	v := topView{
		Time: now.at, Connections: is("connected"), Subscriptions: is("subscriptions"), Members: is("presence_members"), Channels: is("log_channels_attached"),
		Published: per("log_published_total"), Delivered: per("messages_delivered_total"), Frames: per("frames_sent_total"), Writes: per("socket_writes_total"),
		NetworkOut: rate("process_network_transmit_bytes_total"), FeedQueue: is("log_feed_queue"), ShardQueue: is("shard_queue_publications"), Publishing: is("publishing_events"),
		Blocked: per("sockets_blocked_total"), Closed: is("slow_sockets_closed_total"), Behind: is("subscriptions_behind"), QueuedBytes: is("socket_queue_bytes"),
		MemoryHeld: is("memory_held_bytes"), MemoryLimit: is("memory_limit_bytes"), Resident: now.sum("process_resident_memory_bytes"),
		Descriptors: now.sum("process_open_fds"), DescriptorsLimit: is("descriptors_limit"), CPU: rate("process_cpu_seconds_total"), Gaps: is("gaps_total"),
		Refused: per("connections_refused_total") + per("subscriptions_refused_total") + per("messages_refused_total") + per("requests_refused_total"),
	}
	if versions := now.values(prefix+"build_info", "version"); len(versions) > 0 {
		v.Version = versions[0]
	}
	if now.families[prefix+"log_published_total"] == nil {
		// The log in memory has no metrics of its own.
		v.Published = per("http_events_published_total") + per("client_events_total")
	}
	v.DeliveryP50, v.DeliveryP99 = quantiles(before, now, prefix+"delivery_seconds")
	for _, id := range now.values(prefix+"connected", "app_id") {
		a := topApp{
			ID: id, Connections: is("connected", "app_id", id), Subscriptions: is("subscriptions", "app_id", id), Members: is("presence_members", "app_id", id),
			Published: per("http_events_published_total", "app_id", id), ClientEvents: per("client_events_total", "app_id", id),
		}
		_, a.DeliveryP99 = quantiles(before, now, prefix+"delivery_seconds", "app_id", id)
		v.Apps = append(v.Apps, a)
	}
	sort.SliceStable(v.Apps, func(i, j int) bool { return v.Apps[i].Connections > v.Apps[j].Connections })
	return v
}

// quantiles returns the median and the 99th percentile of a histogram between two looks, in milliseconds and as
// bounds of its buckets; -1 without observations.
func quantiles(before, now look, name string, labels ...string) (p50, p99 float64) {
	counts := map[float64]float64{}
	add := func(l look, sign float64) {
		for _, m := range l.of(name, labels...) {
			for _, b := range m.Histogram.GetBucket() {
				counts[b.GetUpperBound()] += sign * float64(b.GetCumulativeCount())
			}
		}
	}
	add(now, 1)
	if now.at != before.at {
		add(before, -1)
	}
	bounds := make([]float64, 0, len(counts))
	total := 0.0
	for b, n := range counts {
		bounds = append(bounds, b)
		total = max(total, n)
	}
	slices.Sort(bounds)
	at := func(q float64) float64 {
		last := 0.0
		for _, b := range bounds {
			if math.IsInf(b, 1) {
				return 1e3 * last // above the highest finite bound
			}
			if last = b; counts[b] >= q*total {
				return 1e3 * b
			}
		}
		return -1
	}
	if total <= 0 {
		return -1, -1
	}
	return at(.5), at(.99)
}

// maxTopApps is the maximum number of apps in the table.
const maxTopApps = 20

// table formats a view as a table.
func (v topView) table() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(&b, "sluice %s  %s  %s\n", shorten(v.Version, 40), clockOf(v.Time), shorten(v.State, 300))
	row("clients", "%s connections, %s subscriptions, %s members, %s channels", briefly(v.Connections), briefly(v.Subscriptions), briefly(v.Members), briefly(v.Channels))
	row("a second", "%s published, %s delivered, %s frames in %s writes, %s sent by the machine, %s refused", briefly(v.Published), briefly(v.Delivered), briefly(v.Frames), briefly(v.Writes), sizeOf(v.NetworkOut), briefly(v.Refused))
	row("log to socket", "p50 %s, p99 %s", milliseconds(v.DeliveryP50), milliseconds(v.DeliveryP99))
	row("waiting", "%s for the log, %s from the feed, %s for the sockets' writers, %s for sockets", briefly(v.Publishing), briefly(v.FeedQueue), briefly(v.ShardQueue), sizeOf(v.QueuedBytes))
	row("slow sockets", "%s blocked a second, %s closed since the start, %s subscriptions behind", briefly(v.Blocked), briefly(v.Closed), briefly(v.Behind))
	limit := "no limit"
	if v.MemoryLimit > 0 {
		limit = "a limit of " + sizeOf(v.MemoryLimit)
	}
	row("process", "%.2f processors, %s alive of %s, %s resident, %s of %s descriptors", v.CPU, sizeOf(v.MemoryHeld), limit, sizeOf(v.Resident), briefly(v.Descriptors), briefly(v.DescriptorsLimit))
	if v.Gaps > 0 {
		row("missed", "%s gaps since the start: publications that were missing for good", briefly(v.Gaps))
	}
	fmt.Fprintf(&b, "\n%-24s %12s %13s %8s %12s %13s %10s\n", "APP", "CONNECTIONS", "SUBSCRIPTIONS", "MEMBERS", "HTTP EVENTS", "CLIENT EVENTS", "P99")
	for i, a := range v.Apps {
		if i == maxTopApps {
			fmt.Fprintf(&b, "and %d more\n", len(v.Apps)-i)
			break
		}
		fmt.Fprintf(&b, "%-24s %12s %13s %8s %10s/s %11s/s %10s\n", shorten(a.ID, 24), briefly(a.Connections), briefly(a.Subscriptions), briefly(a.Members), briefly(a.Published), briefly(a.ClientEvents), milliseconds(a.DeliveryP99))
	}
	return b.String()
}

// briefly formats a number with few characters.
func briefly(n float64) string {
	switch {
	case n >= 1e7:
		return fmt.Sprintf("%.0fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.0fk", n/1e3)
	case n == math.Trunc(n):
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f", n)
}

// sizeOf formats a number of bytes with few characters.
func sizeOf(n float64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", n/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", n/(1<<10))
	}
	return fmt.Sprintf("%.0f B", n)
}

func milliseconds(ms float64) string {
	if ms < 0 {
		return "-"
	}
	return fmt.Sprintf("<= %g ms", ms)
}
