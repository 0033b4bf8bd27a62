package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
)

// as connects a V1 client that names its library.
func (r *rig) as(library string) *peer {
	r.t.Helper()
	p := r.dial("/app/key?protocol=7&client=" + library)
	p.want("pusher:connection_established")
	return p
}

// asked requests deltas and returns the algorithm that the server chose, "" for none.
func (p *peer) asked(data string) string {
	p.t.Helper()
	p.say(`{"event":"pusher:enable_delta_compression","data":%s}`, data)
	text := p.want("pusher:delta_compression_enabled").text
	_, rest, ok := strings.Cut(text, `"algorithm":"`)
	if !ok {
		return ""
	}
	chosen, _, _ := strings.Cut(rest, `"`)
	return chosen
}

func TestClientQuirks(t *testing.T) {
	for _, c := range []struct{ id, library, listed, want string }{
		{"DN-18", "swift", `{}`, "xdelta3"},
		{"DN-18", "swift", `{"algorithms":["fossil","xdelta3"]}`, "xdelta3"},
		{"DN-18", "swift", `{"algorithms":["fossil"]}`, ""},
		{"DN-18", "python", `{}`, "xdelta3"},
		{"DN-18", "Python", `{"algorithms":["fossil"]}`, ""},
		{"3.15", "csharp", `{}`, "fossil"},
		{"3.15", "kotlin", `{}`, "fossil"},
		{"3.15", "flutter", `{"algorithms":["xdelta3","fossil"]}`, "fossil"},
		{"3.15", "somebody", `{"algorithms":["xdelta3"]}`, "xdelta3"},
	} {
		t.Run(fmt.Sprintf("%s %s lists %s", c.id, c.library, c.listed), func(t *testing.T) {
			r := newRig(t, nil)
			if got := r.as(c.library).asked(c.listed); got != c.want {
				t.Errorf("the server chose %q, want %q", got, c.want)
			}
		})
	}
	for _, library := range []string{"csharp", "python"} {
		t.Run("DN-19 "+library+" gets one base per channel and never a conflation_key", func(t *testing.T) {
			r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path = "symbol" })
			p := r.as(library)
			p.asked(`{}`)
			p.subscribe("market")
			d := decode(p)
			run := 0
			for n := range 60 {
				r.publish("market", "tick", tick(n))
				text, form := d.next()
				if strings.Contains(text, "conflation_key") {
					t.Fatalf("got %s", text)
				}
				if run++; form == "full" {
					run = 0
				}
				if run > 9 {
					t.Fatalf("%d deltas in a row", run)
				}
			}
			if d.delta < 40 {
				t.Errorf("only %d of 60 events came as deltas", d.delta)
			}
		})
	}
	t.Run("DN-18 a subscription's own wish does not bring fossil to swift", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.as("swift")
		p.say(`{"event":"pusher:subscribe","data":{"channel":"market","delta":"fossil"}}`)
		p.want("pusher_internal:subscription_succeeded")
		if m := p.want("pusher:delta_compression_enabled"); !strings.Contains(m.text, `"algorithm":"xdelta3"`) {
			t.Errorf("got %s", m.text)
		}
		r.publish("market", "tick", tick(0))
		p.want("tick")
		r.publish("market", "tick", tick(1))
		if m := p.want("pusher:delta"); !strings.Contains(m.text, `"algorithm":"xdelta3"`) {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("3.15 what the library cannot decode leaves deltas off", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.as("swift")
		p.asked(`{"algorithms":["fossil"]}`)
		p.subscribe("market")
		r.publish("market", "tick", tick(0))
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
	})
}

func TestAlgorithmOrder(t *testing.T) {
	// DN-16: first the subscription, then the channel's entry, then the socket.
	entry := func(_ *Options, a *appT) {
		own := a.Delta
		own.Algorithm = app.VCDIFF
		a.Patterns = []patternT{{Match: "vc-*", Delta: own}}
	}
	for _, c := range []struct{ name, listed, channel, wish, want string }{
		{"the socket's", `{}`, "market", ``, "fossil"},
		{"the channel's before the socket's", `{}`, "vc-1", ``, "xdelta3"},
		{"the channel's only if the client lists it", `{"algorithms":["fossil"]}`, "vc-1", ``, "fossil"},
		{"the subscription's before the channel's", `{}`, "vc-1", `,"delta":"fossil"`, "fossil"},
		{"the subscription's before the socket's", `{}`, "market", `,"delta":{"algorithm":"VCDIFF"}`, "xdelta3"},
		{"an unknown one leaves the choice to the server", `{}`, "vc-1", `,"delta":"zip"`, "xdelta3"},
	} {
		t.Run("DN-16 DN-20 "+c.name, func(t *testing.T) {
			r := newRig(t, entry)
			p, _ := r.connect()
			p.asked(c.listed)
			p.say(`{"event":"pusher:subscribe","data":{"channel":%q%s}}`, c.channel, c.wish)
			p.want("pusher_internal:subscription_succeeded")
			if c.wish != "" {
				if m := p.want("pusher:delta_compression_enabled"); !strings.Contains(m.text, `"algorithm":"`+c.want+`"`) {
					t.Errorf("confirmed %s, want %s", m.text, c.want)
				}
			}
			for n := range 2 {
				r.publish(c.channel, "tick", tick(n))
			}
			p.want("tick")
			if m := p.want("pusher:delta"); !strings.Contains(m.text, `"algorithm":"`+c.want+`"`) {
				t.Errorf("got %s, want %s", m.text, c.want)
			}
		})
	}
}
