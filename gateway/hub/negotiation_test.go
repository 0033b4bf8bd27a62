package hub

import (
	"fmt"
	"strings"
	"testing"
)

func TestDeltaNegotiation(t *testing.T) {
	ask := func(r *rig, data string) string {
		p, _ := r.connect()
		p.say(`{"event":"pusher:enable_delta_compression"%s}`, data)
		return p.want("pusher:delta_compression_enabled").text
	}
	const on = `{"event":"pusher:delta_compression_enabled","data":{"enabled":true,"algorithm":"fossil"}}`
	const off = `{"event":"pusher:delta_compression_enabled","data":{"enabled":false}}`
	for name, c := range map[string]struct{ data, want string }{
		"DN-02 no data":            {``, on},
		"DN-02 empty object":       {`,"data":{}`, on},
		"DN-02 JSON string":        {`,"data":"{}"`, on},
		"DN-02 a list":             {`,"data":{"algorithms":["fossil","xdelta3"]}`, on},
		"DN-05 only xdelta3":       {`,"data":{"algorithms":["xdelta3"]}`, strings.Replace(on, "fossil", "xdelta3", 1)},
		"DN-20 VCDIFF in capitals": {`,"data":{"algorithms":["VCDIFF"]}`, strings.Replace(on, "fossil", "xdelta3", 1)},
		"DN-06 nothing in common":  {`,"data":{"algorithms":["unknown"]}`, off},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(newRig(t, nil), c.data); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	t.Run("DN-04 delta is off in the configuration", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.DeltaEnabled = false })
		if got := ask(r, ""); got != off {
			t.Errorf("got %s, want %s", got, off)
		}
		p := r.subscribed("market", true)
		r.publish("market", "tick", tick(0))
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("DN-05 VCDIFF frames decode", func(t *testing.T) {
		r := newRig(t, nil)
		p, _ := r.connect()
		p.say(`{"event":"pusher:enable_delta_compression","data":{"algorithms":["xdelta3"]}}`)
		p.want("pusher:delta_compression_enabled")
		p.subscribe("market")
		d := decode(p)
		for n := range 20 {
			r.publish("market", "tick", tick(n))
			if text, _ := d.next(); !strings.Contains(text, fmt.Sprintf(`"price":%d.`, 100+n)) {
				t.Fatalf("got %s", text)
			}
		}
		if d.delta != 18 {
			t.Errorf("got %d deltas, want 18", d.delta)
		}
	})
	t.Run("DN-10 DN-11 DN-12 a subscription's own setting", func(t *testing.T) {
		r := newRig(t, nil)
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":{"channel":"a","delta":true}}`)
		p.want("pusher_internal:subscription_succeeded")
		want := `{"event":"pusher:delta_compression_enabled","channel":"a","data":{"enabled":true,"algorithm":"fossil","channel":"a"}}`
		if got := p.next().text; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		p.subscribe("b")
		r.publish("a", "tick", tick(0))
		if m := p.want("tick"); m.Sequence == nil {
			t.Errorf("got %s without a number", m.text)
		}
		r.publish("b", "tick", tick(0))
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("DN-14 DN-15 channels that never take part", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) {
			a.Patterns = append(a.Patterns, patternT{Match: "quiet-*"})
		})
		p := r.subscribed("quiet-1", true)
		r.publish("quiet-1", "tick", tick(0))
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
	})
}
