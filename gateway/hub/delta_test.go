package hub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
)

// decoder keeps the delta bases that a client keeps, and rebuilds every frame.
type decoder struct {
	t     *testing.T
	p     *peer
	bases map[string]string
	full  int
	delta int
	bytes int
}

type deltaData struct {
	Event     string  `json:"event"`
	Delta     string  `json:"delta"`
	Seq       int64   `json:"seq"`
	Algorithm string  `json:"algorithm"`
	Key       *string `json:"conflation_key"`
	Base      int64   `json:"base_index"`
}

func decode(p *peer) *decoder { return &decoder{t: p.t, p: p, bases: map[string]string{}} }

func (d *decoder) baseOf(key *string, number int64) string {
	k := ""
	if key != nil {
		k = *key
	}
	return fmt.Sprint(k, "/", number)
}

// next returns the text of the next event, and its form: full, delta or plain.
func (d *decoder) next() (text, form string) {
	d.t.Helper()
	return d.rebuild(d.p.next())
}

// rebuild does the same for a frame of which only the text must be set.
func (d *decoder) rebuild(m message) (text, form string) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(m.text), &m); err != nil {
		d.t.Fatalf("frame %s: %v", m.text, err)
	}
	d.bytes += len(m.text)
	if !strings.HasSuffix(m.Event, ":delta") {
		if m.Sequence == nil {
			return m.text, "plain"
		}
		d.full++
		d.bases[d.baseOf(m.Key, *m.Sequence)] = m.text
		return m.text, "full"
	}
	var data deltaData
	if err := json.Unmarshal(m.Data, &data); err != nil {
		d.t.Fatalf("delta frame %s: %v", m.text, err)
	}
	base, ok := d.bases[d.baseOf(data.Key, data.Base)]
	if !ok {
		d.t.Fatalf("DS-07: %s names a base that this socket does not hold", m.text)
	}
	raw, err := base64.StdEncoding.DecodeString(data.Delta)
	if err != nil {
		d.t.Fatal(err)
	}
	apply := delta.ApplyFossil
	if data.Algorithm == "xdelta3" {
		apply = delta.ApplyVCDIFF
	}
	target, err := apply(nil, []byte(base), raw, 1<<20)
	if err != nil {
		d.t.Fatalf("delta %s: %v", m.text, err)
	}
	if len(m.text) >= len(target) {
		d.t.Fatalf("DS-18: a delta frame of %d bytes for a frame of %d", len(m.text), len(target))
	}
	d.delta++
	d.bases[d.baseOf(data.Key, data.Seq)] = string(target)
	return string(target), "delta"
}

func tick(n int) string {
	return fmt.Sprintf(`{"symbol":"S%d","price":%d.%02d,"volume":%d,"note":%q}`, n%3, 100+n, n%100, n*7, strings.Repeat("steady ", 60))
}

func TestDeltaStream(t *testing.T) {
	t.Run("DN-01 a socket that never asks gets no markers", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.subscribed("market", false)
		for n := range 3 {
			r.publish("market", "tick", tick(n))
			if m := p.want("tick"); m.Sequence != nil || m.str() != tick(n) {
				t.Errorf("got %s", m.text)
			}
		}
	})
	t.Run("DS-01 DS-06 DS-11 one in ten is full and every text is the marked text", func(t *testing.T) {
		r := newRig(t, nil)
		plain, d := r.subscribed("market", false), decode(r.subscribed("market", true))
		for n := range 100 {
			r.publish("market", "tick", tick(n))
			text, form := d.next()
			if want := n%10 == 0; (form == "full") != want {
				t.Errorf("event %d came %s", n, form)
			}
			m := plain.want("tick")
			var got message
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"event":"tick","channel":"market","data":%s,"sequence":%d}`, m.str(), *got.Sequence)
			if text != want {
				t.Fatalf("got %s, want %s", text, want)
			}
		}
		if d.full != 10 || d.delta != 90 {
			t.Errorf("got %d full and %d delta frames, want 10 and 90", d.full, d.delta)
		}
		// ME-01 to ME-03: the metrics count what was sent.
		c := r.hub.opt.Metrics.channel("app", "market")
		eventually(t, "all frames are counted", func() bool {
			return testutil.ToFloat64(c.full)+testutil.ToFloat64(c.deltas) == 100
		})
		if got := testutil.ToFloat64(c.original) - testutil.ToFloat64(c.saved); int(got) != d.bytes {
			t.Errorf("ME-03: metrics say %v bytes, the client received %d", got, d.bytes)
		}
	})
	t.Run("DS-13 DS-22 DS-23 keyed mode counts and compares per key", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path = "symbol" })
		d := decode(r.subscribed("market", true))
		forms := map[string][]string{}
		for n := range 90 {
			r.publish("market", "tick", tick(n))
			text, form := d.next()
			var m message
			if err := json.Unmarshal([]byte(text), &m); err != nil || m.Key == nil {
				t.Fatalf("frame without a key: %s", text)
			}
			forms[*m.Key] = append(forms[*m.Key], form)
		}
		for key, got := range forms {
			for i, form := range got {
				if (form == "full") != (i%10 == 0) {
					t.Errorf("publication %d of %s came %s", i, key, form)
				}
			}
		}
		r.publish("market", "tick", strings.Replace(tick(1), "symbol", "cymbal", 1))
		if text, _ := d.next(); !strings.HasSuffix(text, `,"conflation_key":""}`) {
			t.Errorf("got %s", text)
		}
	})
	t.Run("DS-12 an interval of 1 or 0 sends everything in full", func(t *testing.T) {
		for _, n := range []int{0, 1} {
			r := newRig(t, func(_ *Options, a *appT) { a.Delta.Interval = n })
			d := decode(r.subscribed("market", true))
			for i := range 5 {
				r.publish("market", "tick", tick(i))
				if _, form := d.next(); form != "full" {
					t.Errorf("interval %d: event %d came %s", n, i, form)
				}
			}
		}
	})
	t.Run("DS-03 DS-04 DS-14 DS-15 DS-16 DS-19 DS-20 DS-21 odd publications", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("market", true))
		step := func(want, name, data string, change ...func(*broker.Event)) {
			t.Helper()
			r.publish("market", name, data, change...)
			if text, form := d.next(); form != want {
				t.Errorf("%.60s came %s, want %s: %.200s", data, form, want, text)
			}
		}
		step("full", "tick", tick(1))
		step("delta", "tick", tick(2))
		step("plain", "tick", `1234567`)
		step("plain", "tick", `"`+strings.Repeat("a", 200)+`"`)
		step("plain", "tick", `null`)
		step("plain", "tick", ``)
		step("plain", "tick", `{"a":1}`)
		step("delta", "tick", tick(3))
		step("delta", "other", tick(4))
		step("plain", "tick", tick(5), func(e *broker.Event) { e.Delta = broker.DeltaNever })
		step("full", "tick", `{"a":1}`, func(e *broker.Event) { e.Delta = broker.DeltaAlways })
		step("full", "tick", tick(6)) // it has nothing in common with the one before
		step("delta", "tick", tick(7))
		step("plain", "tick", strings.Replace(tick(8), "steady", "__delta_seq", 1))
		step("full", "tick", tick(9))
		step("full", "tick", "not JSON: "+strings.Repeat("0123456789", 30)+fmt.Sprint(time.Now().UnixNano()))
		step("full", "tick", `{"x":"`+noise(400)+`"}`)
		step("full", "tick", `{"x":"`+noise(401)+`"}`)
	})
	t.Run("DS-05 spelling of embedded data is kept", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("market", true))
		data := `{"z":1.50,"a":12345678901234567890,"m":[1, 2],"s":"` + strings.Repeat("s", 100) + `"}`
		r.publish("market", "tick", data)
		if text, _ := d.next(); !strings.Contains(text, `"data":`+data+`,`) {
			t.Errorf("got %s", text)
		}
	})
	t.Run("DS-08 DS-10 all sockets get the same bytes once both hold the base", func(t *testing.T) {
		r := newRig(t, nil)
		a := r.subscribed("market", true)
		r.publish("market", "tick", tick(0))
		first := a.want("tick")
		b := r.subscribed("market", true)
		r.publish("market", "tick", tick(1))
		if m := a.next(); m.Event != "pusher:delta" {
			t.Errorf("got %s, want a delta", m.text)
		}
		second := b.want("tick")
		if *second.Sequence <= *first.Sequence {
			t.Errorf("number %d follows %d", *second.Sequence, *first.Sequence)
		}
		r.publish("market", "tick", tick(2))
		if x, y := a.next().text, b.next().text; x != y || !strings.Contains(x, "pusher:delta") {
			t.Errorf("got %s and %s", x, y)
		}
	})
	t.Run("DS-17 an old base gives a full frame", func(t *testing.T) {
		feed := &handFeed{at: broker.Position{Epoch: "e"}}
		r := newRig(t, func(o *Options, _ *appT) { o.Feed = feed })
		d := decode(r.subscribed("market", true))
		at := time.Unix(1700000000, 0)
		for i, c := range []struct {
			after time.Duration
			form  string
		}{{0, "full"}, {time.Second, "delta"}, {301 * time.Second, "full"}, {time.Second, "delta"}} {
			at = at.Add(c.after)
			feed.sink("market").Publication(&broker.Publication{
				Event:    broker.Event{Name: "tick", Data: []byte(tick(i))},
				Position: broker.Position{Epoch: "e", Offset: uint64(i + 1)}, Prev: uint64(i), Time: at,
			})
			if _, form := d.next(); form != c.form {
				t.Errorf("event %d came %s, want %s", i, form, c.form)
			}
		}
	})
	t.Run("DS-30 DS-31 resync gives full frames and ends deltas when repeated", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.subscribed("market", true)
		d := decode(p)
		r.publish("market", "tick", tick(0))
		d.next()
		for i := range 6 {
			p.say(`{"event":"pusher:delta_sync_error","data":{"channel":"market"}}`)
			p.usable()
			r.publish("market", "tick", tick(i))
			want := "full"
			if i == 5 {
				want = "plain"
			}
			if text, form := d.next(); form != want {
				t.Errorf("after resync %d: came %s, want %s: %s", i+1, form, want, text)
			}
		}
	})
	t.Run("DS-38 subscribing again gives a full frame", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.subscribed("market", true)
		d := decode(p)
		r.publish("market", "tick", tick(0))
		d.next()
		p.say(`{"event":"pusher:unsubscribe","data":{"channel":"market"}}`)
		p.subscribe("market")
		r.publish("market", "tick", tick(1))
		if _, form := d.next(); form != "full" {
			t.Errorf("came %s, want full", form)
		}
	})
	t.Run("DS-40 an excluded publication is no base of the excluded socket", func(t *testing.T) {
		r := newRig(t, nil)
		p, id := r.connect()
		p.say(`{"event":"pusher:enable_delta_compression"}`)
		p.want("pusher:delta_compression_enabled")
		p.subscribe("market")
		d := decode(p)
		r.publish("market", "tick", tick(0))
		d.next()
		r.publish("market", "tick", tick(1), func(e *broker.Event) { e.ExcludeSocket = id })
		r.publish("market", "tick", tick(2))
		// The publication before the excluded one is still the base.
		if text, form := d.next(); form != "delta" || !strings.Contains(text, `"price":102.02`) {
			t.Errorf("came %s: %s", form, text)
		}
		r.publish("market", "tick", tick(3))
		if _, form := d.next(); form != "delta" {
			t.Errorf("came %s, want delta", form)
		}
	})
	t.Run("DS-33 V2 deltas carry the ids of their event", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) { a.HistoryEnabled = true })
		p := r.dial("/app/key?protocol=2")
		p.want("sockudo:connection_established")
		p.say(`{"event":"sockudo:enable_delta_compression","data":"{}"}`)
		p.want("sockudo:delta_compression_enabled")
		p.say(`{"event":"sockudo:subscribe","data":{"channel":"market"}}`)
		p.want("sockudo_internal:subscription_succeeded")
		r.publish("market", "tick", tick(0))
		p.want("tick")
		at := r.publish("market", "tick", tick(1))
		m := p.want("sockudo:delta")
		if m.MessageID == "" || m.StreamID != at.Epoch || m.Serial != at.Offset {
			t.Errorf("got %s", m.text)
		}
	})
}

// noise returns text that shares nothing with the noise of another seed.
func noise(seed uint64) string {
	var b strings.Builder
	for range 40 {
		seed = seed*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "%016x", seed^seed>>29)
	}
	return b.String()
}
