package hub

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

func tagged(tags map[string]string) func(*broker.Event) {
	return func(e *broker.Event) { e.Tags = tags }
}

// filtered subscribes a new socket with deltas, and with more members in the request.
func (r *rig) filtered(members string) *peer {
	r.t.Helper()
	p, _ := r.connect()
	p.asked(`{}`)
	p.say(`{"event":"pusher:subscribe","data":{"channel":"market"%s}}`, members)
	p.want("pusher_internal:subscription_succeeded")
	return p
}

func TestFilters(t *testing.T) {
	on := func(o *Options, _ *appT) { o.Filters = true }
	a, b := tagged(map[string]string{"k": "a"}), tagged(map[string]string{"k": "b"})
	const onlyA = `{"key":"k","cmp":"eq","val":"a"}`

	t.Run("DS-39 TF-01 an event that was filtered out is no base", func(t *testing.T) {
		r := newRig(t, on)
		d := decode(r.filtered(`,"filter":` + onlyA))
		other := decode(r.filtered(""))
		forms := ""
		for n, tags := range []func(*broker.Event){a, b, a, b, b, b, b, b, a, a} {
			r.publish("market", "tick", tick(n), tags)
			if text, _ := other.next(); !strings.Contains(text, `"symbol"`) {
				t.Fatalf("got %s", text)
			}
			if n == 0 || n == 2 || n >= 8 {
				text, form := d.next()
				if frameOf(t, text); !strings.Contains(text, tick(n)) {
					t.Errorf("event %d came as %s", n, text)
				}
				forms += form + " "
			}
		}
		// The base of the third event is the first. The base of the ninth is too far back.
		if forms != "full delta full delta " {
			t.Errorf("events came %s", forms)
		}
	})
	t.Run("TF-05 both names are understood and filter wins", func(t *testing.T) {
		r := newRig(t, on)
		alias := r.filtered(`,"tags_filter":` + onlyA)
		both := r.filtered(`,"tags_filter":{"key":"k","cmp":"eq","val":"b"},"filter":` + onlyA)
		r.publish("market", "b", `1`, b)
		r.publish("market", "a", `1`, a)
		alias.want("a")
		both.want("a")
	})
	t.Run("TF-08 a filter that breaks a rule is refused", func(t *testing.T) {
		r := newRig(t, on)
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":{"channel":"market","filter":{"key":"k","cmp":"like","val":"x"}}}`)
		if m := p.want("pusher:error"); !strings.Contains(m.text, `"code":null`) {
			t.Errorf("got %s", m.text)
		}
		m := p.want("pusher:subscription_error")
		var d struct {
			Type   string
			Status int
		}
		if err := json.Unmarshal([]byte(m.str()), &d); err != nil || d.Type != "FilterError" || d.Status != 400 || m.Channel != "market" {
			t.Errorf("got %s", m.text)
		}
		r.publish("market", "tick", `1`)
		p.usable()
	})
	t.Run("TF-10 subscribing again replaces or removes the filter", func(t *testing.T) {
		r := newRig(t, on)
		p := r.filtered(`,"filter":` + onlyA)
		p.say(`{"event":"pusher:subscribe","data":{"channel":"market","filter":{"events":["x"]}}}`)
		p.want("pusher_internal:subscription_succeeded")
		r.publish("market", "a", `1`, a)
		r.publish("market", "x", `1`, b)
		p.want("x")
		p.subscribe("market")
		r.publish("market", "y", `1`, b)
		p.want("y")
	})
	t.Run("TF-11 TF-12 tags reach V2 sockets unless they are switched off", func(t *testing.T) {
		for _, deliver := range []bool{true, false} {
			r := newRig(t, func(o *Options, x *appT) { o.Filters, x.Delta.DeliverTags = true, deliver })
			v2 := r.dial("/app/key?protocol=2")
			v2.want("sockudo:connection_established")
			v2.say(`{"event":"sockudo:subscribe","data":{"channel":"market","filter":%s}}`, onlyA)
			v2.want("sockudo_internal:subscription_succeeded")
			v1 := r.filtered(`,"filter":` + onlyA)
			r.publish("market", "no", `1`, b)
			r.publish("market", "yes", `1`, a)
			if m := v2.want("yes"); strings.Contains(m.text, `"tags":{"k":"a"}`) != deliver {
				t.Errorf("tags are delivered: %v, got %s", deliver, m.text)
			}
			if m := v1.want("yes"); strings.Contains(m.text, "tags") {
				t.Errorf("V1 got %s", m.text)
			}
		}
	})
	t.Run("TF-15 with the feature off a filter is checked and ignored", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.filtered(`,"filter":` + onlyA)
		r.publish("market", "b", `1`, b)
		p.want("b")
		p.say(`{"event":"pusher:subscribe","data":{"channel":"other","filter":7}}`)
		p.want("pusher:error")
		p.want("pusher:subscription_error")
	})
}
