package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
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
	t.Run("DN-14 a veto of the configuration wins over every client setting", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) {
			a.Patterns = append(a.Patterns, patternT{Match: "quiet-*"})
		})
		for i, wish := range []string{``, `,"delta":true`, `,"delta":"xdelta3"`, `,"delta":{"enabled":true}`} {
			if got := r.started(fmt.Sprint("quiet-", i), true, wish); got != "plain" {
				t.Errorf("with %q: %s", wish, got)
			}
		}
	})
	t.Run("DN-15 an encrypted channel never takes part", func(t *testing.T) {
		r := newRig(t, nil)
		p, id := r.connect()
		p.asked(`{}`)
		const channel = "private-encrypted-x"
		p.say(`{"event":"pusher:subscribe","data":{"channel":%q,"auth":%q,"delta":true}}`,
			channel, "key:"+pusher.SignChannel("secret", id, channel, "", false))
		p.want("pusher_internal:subscription_succeeded")
		for n := range 3 {
			r.publish(channel, "tick", tick(n))
			if m := p.want("tick"); m.Sequence != nil {
				t.Errorf("got %s", m.text)
			}
		}
	})
	t.Run("DN-03 each dialect has its own prefix", func(t *testing.T) {
		for query, prefix := range map[string]string{"protocol=7": "pusher:", "protocol=2": "sockudo:"} {
			r := newRig(t, nil)
			p := r.dial("/app/key?" + query)
			p.want(prefix + "connection_established")
			p.say(`{"event":"%senable_delta_compression"}`, prefix)
			p.want(prefix + "delta_compression_enabled")
			p.say(`{"event":"%ssubscribe","data":{"channel":"market"}}`, prefix)
			p.next()
			r.publish("market", "tick", tick(0))
			p.want("tick")
			r.publish("market", "tick", tick(1))
			p.want(prefix + "delta")
		}
	})
	t.Run("DN-07 DN-08 enabling again or afterwards changes no subscription", func(t *testing.T) {
		r := newRig(t, nil)
		p, _ := r.connect()
		for channel, wish := range map[string]string{"off": "false", "own": `"xdelta3"`} {
			p.say(`{"event":"pusher:subscribe","data":{"channel":%q,"delta":%s}}`, channel, wish)
			p.want("pusher_internal:subscription_succeeded")
			if channel == "own" {
				p.want("pusher:delta_compression_enabled")
			}
		}
		p.asked(`{"algorithms":["fossil"]}`)
		r.publish("off", "tick", tick(0))
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
		for n := range 3 {
			r.publish("own", "tick", tick(n))
			if m := p.next(); n > 0 && !strings.Contains(m.text, `"algorithm":"xdelta3"`) {
				t.Errorf("got %s", m.text)
			}
			p.asked(`{"algorithms":["fossil"]}`)
		}
	})
	t.Run("DN-13 subscribing again without a setting removes it", func(t *testing.T) {
		r := newRig(t, nil)
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":{"channel":"market","delta":true}}`)
		p.want("pusher_internal:subscription_succeeded")
		p.want("pusher:delta_compression_enabled")
		p.subscribe("market")
		r.publish("market", "tick", tick(0))
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("DN-11 switching one channel off leaves the others", func(t *testing.T) {
		for _, enabled := range []bool{false, true} {
			r := newRig(t, nil)
			p, _ := r.connect()
			if enabled {
				p.asked(`{}`)
			}
			p.say(`{"event":"pusher:subscribe","data":{"channel":"off","delta":false}}`)
			p.want("pusher_internal:subscription_succeeded")
			p.subscribe("market")
			r.publish("market", "tick", tick(0))
			if m := p.want("tick"); (m.Sequence != nil) != enabled {
				t.Errorf("enabled %v: got %s", enabled, m.text)
			}
		}
	})
	t.Run("DN-17 the most particular entry wins", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) {
			keyed := a.Delta
			keyed.Path = "symbol"
			a.Patterns = []patternT{
				{Match: "*", Delta: a.Delta}, {Match: "mar*", Delta: app.Delta{}}, {Match: "mark*", Delta: keyed}, {Match: "market-x", Delta: app.Delta{}},
			}
		})
		for channel, want := range map[string]string{"other": "full", "mars": "plain", "market": "keyed", "market-x": "plain"} {
			if got := r.started(channel, true, ""); got != want {
				t.Errorf("%s: %s, want %s", channel, got, want)
			}
		}
	})
}

// started subscribes a new socket and returns the form of the first event. The channel must be new: another
// shard may still have an earlier event queued.
func (r *rig) started(channel string, enabled bool, wish string) string {
	r.t.Helper()
	p, _ := r.connect()
	if enabled {
		p.asked(`{}`)
	}
	p.say(`{"event":"pusher:subscribe","data":{"channel":%q%s}}`, channel, wish)
	p.want("pusher_internal:subscription_succeeded")
	p.usableAfter("pusher:delta_compression_enabled")
	r.publish(channel, "tick", tick(0))
	m := p.want("tick")
	switch {
	case m.Sequence == nil:
		return "plain"
	case m.Key != nil:
		return "keyed"
	}
	return "full"
}

// usableAfter checks that the connection is alive, and skips one kind of event.
func (p *peer) usableAfter(event string) {
	p.t.Helper()
	p.say(`{"event":"pusher:ping","data":{}}`)
	for {
		if m := p.next(); m.Event != event {
			if m.Event != "pusher:pong" {
				p.t.Fatalf("got %s", m.text)
			}
			return
		}
	}
}

// TestDeltaMemberOfSubscribe: DN-09, each row of the table in protocol section 3.3.
func TestDeltaMemberOfSubscribe(t *testing.T) {
	for _, c := range []struct{ member, onEnabled, onFresh string }{
		{``, "full", "plain"},
		{`,"delta":null`, "full", "plain"},
		{`,"delta":true`, "full", "full"},
		{`,"delta":false`, "plain", "plain"},
		{`,"delta":"fossil"`, "full", "full"},
		{`,"delta":"XDelta3"`, "full", "full"},
		{`,"delta":"vcdiff"`, "full", "full"},
		{`,"delta":"disabled"`, "plain", "plain"},
		{`,"delta":"False"`, "plain", "plain"},
		{`,"delta":"NONE"`, "plain", "plain"},
		{`,"delta":"whatever"`, "full", "full"},
		{`,"delta":{}`, "full", "plain"},
		{`,"delta":{"enabled":true}`, "full", "full"},
		{`,"delta":{"enabled":false,"algorithm":"fossil"}`, "plain", "plain"},
		{`,"delta":{"algorithm":"xdelta3"}`, "full", "full"},
		{`,"delta":{"algorithm":"zip"}`, "full", "plain"},
		{`,"delta":7`, "full", "plain"},
		{`,"delta":[true]`, "full", "plain"},
	} {
		t.Run("DN-09 "+c.member, func(t *testing.T) {
			r := newRig(t, nil)
			if got := r.started("first", true, c.member); got != c.onEnabled {
				t.Errorf("on a socket with deltas: %s, want %s", got, c.onEnabled)
			}
			if got := r.started("second", false, c.member); got != c.onFresh {
				t.Errorf("on a fresh socket: %s, want %s", got, c.onFresh)
			}
		})
	}
}
