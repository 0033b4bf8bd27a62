package hub

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicehq/sluice/broker"
)

// five are the metrics of protocol section 7.
var five = []string{
	"sockudo_horizontal_delta_compression_enabled_total",
	"sockudo_delta_compression_full_messages_total",
	"sockudo_delta_compression_delta_messages_total",
	"sockudo_delta_compression_bandwidth_original_bytes",
	"sockudo_delta_compression_bandwidth_saved_bytes",
}

// metric returns the values of a metric by channel, and the names of its labels.
func (r *rig) metric(name string) (byChannel map[string]float64, labels []string) {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	byChannel = map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			labels = nil
			channel := ""
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
				if l.GetName() == "channel_name" {
					channel = l.GetValue()
				}
			}
			if n := m.GetCounter().GetValue(); n > 0 || channel != otherChannels {
				// The series for other channels exists from the start, at 0.
				byChannel[channel] += n
			}
		}
	}
	return byChannel, labels
}

func TestDeltaMetrics(t *testing.T) {
	t.Run("ME-01 the five exist with exactly three labels", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.subscribed("market", true)
		r.publish("market", "tick", tick(0))
		p.want("tick")
		eventually(t, "something is counted", func() bool { values, _ := r.metric(five[1]); return len(values) == 1 })
		for _, name := range five {
			values, labels := r.metric(name)
			slices.Sort(labels)
			if diff := cmp.Diff([]string{"app_id", "channel_name", "port"}, labels); diff != "" || len(values) != 1 {
				t.Errorf("%s: %v (-want +got):\n%s", name, values, diff)
			}
		}
	})
	t.Run("ME-02 ME-03 what is counted is what one client received", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path = "symbol" })
		d := decode(r.subscribed("market", true))
		for n := range 100 {
			r.publish("market", "tick", tick(n))
			d.next()
		}
		sum := func(name string) float64 { values, _ := r.metric(name); return values["market"] }
		eventually(t, "all are counted", func() bool { return sum(five[1])+sum(five[2]) == 100 })
		if got := sum(five[3]) - sum(five[4]); int(got) != d.bytes {
			t.Errorf("metrics say %v bytes, the client received %d", got, d.bytes)
		}
		if int(sum(five[1])) != d.full || int(sum(five[2])) != d.delta {
			t.Errorf("metrics say %v full and %v delta, the client received %d and %d", sum(five[1]), sum(five[2]), d.full, d.delta)
		}
	})
	t.Run("ME-04 events of this node or of nobody are not from another one", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Node = "here" })
		d := decode(r.subscribed("market", true))
		for i, node := range []string{"here", "", "there", "elsewhere"} {
			r.publish("market", "tick", tick(i), func(e *broker.Event) { e.Node = node })
			d.next()
		}
		if values, _ := r.metric(five[0]); values["market"] != 2 {
			t.Errorf("%v events from other nodes, want 2", values)
		}
	})
	t.Run("ME-05 the label of channels is bounded", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Metrics.maxChannels = 3 })
		p := r.subscribed("c0", true)
		for n := range 6 {
			channel := fmt.Sprint("c", n)
			if n > 0 {
				p.subscribe(channel)
			}
			r.publish(channel, "tick", tick(n))
			p.want("tick")
		}
		eventually(t, "all are counted", func() bool {
			values, _ := r.metric(five[1])
			return cmp.Equal(values, map[string]float64{"c0": 1, "c1": 1, "c2": 1, "_other": 3})
		})
	})
	t.Run("Trust08 names without events use up no labels", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.Metrics.maxChannels = 2 })
		p := r.subscribed("made-up-0", true)
		for n := range 5 {
			p.subscribe(fmt.Sprint("made-up-", n+1))
		}
		p.subscribe("market")
		r.publish("market", "tick", tick(0))
		p.want("tick")
		eventually(t, "the event is counted for its channel", func() bool {
			values, _ := r.metric(five[1])
			return cmp.Equal(values, map[string]float64{"market": 1})
		})
	})
	t.Run("ME-06 plain frames change nothing", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.subscribed("market", true)
		none := r.subscribed("market", false)
		r.publish("market", "tick", tick(0), func(e *broker.Event) { e.Delta = broker.DeltaNever })
		r.publish("market", "tick", `{"small":1}`)
		r.publish("market", "tick", `12`)
		for range 3 {
			p.want("tick")
			none.want("tick")
		}
		p.usable()
		for _, name := range five {
			if values, _ := r.metric(name); values["market"] != 0 {
				t.Errorf("%s is %v", name, values)
			}
		}
	})
	t.Run("bases are counted and given back", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path = "symbol" })
		p := r.subscribed("market", true)
		for n := range 9 {
			r.publish("market", "tick", tick(n))
			p.next()
		}
		if n, bytes := r.hub.hall.BaseKeys.Load(), r.hub.hall.BaseBytes.Load(); n != 3 || bytes < 3*400 {
			t.Errorf("%d bases of %d bytes, want 3", n, bytes)
		}
		r.clock.Add(int64(301e9))
		r.hub.sweep(r.hub.opt.Now())
		if n, bytes := r.hub.hall.BaseKeys.Load(), r.hub.hall.BaseBytes.Load(); n != 0 || bytes != 0 {
			t.Errorf("%d bases of %d bytes after five silent minutes", n, bytes)
		}
		p.askedForLife()
		r.publish("market", "tick", tick(1))
		if m := p.next(); m.Sequence == nil {
			t.Errorf("got %s, want a full frame", m.text)
		}
	})
	t.Run("encoding is timed", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("market", true))
		for n := range 3 {
			r.publish("market", "tick", tick(n))
			d.next()
		}
		var m dto.Metric
		if err := r.hub.opt.Metrics.encoding.(prometheus.Histogram).Write(&m); err != nil {
			t.Fatal(err)
		}
		if n := m.GetHistogram().GetSampleCount(); n != 2 {
			t.Errorf("%d deltas were timed, want 2", n)
		}
	})
}
