package hub

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// cast sends an ephemeral event as the HTTP API does.
func (r *rig) cast(channel, name, data string, change ...func(*broker.Event)) {
	r.t.Helper()
	ev := &broker.Event{Name: name, Data: []byte(data), Origin: broker.OriginHTTP, MessageID: "e-" + data, Extras: []byte(`{"ephemeral":true}`)}
	for _, f := range change {
		f(ev)
	}
	if err := r.log.Cast(context.Background(), "app", broker.Outgoing{Channel: channel, Event: ev}); err != nil {
		r.t.Fatal(err)
	}
}

// TestTime01EphemeralEvents: every kind of reader gets an ephemeral event in its own form, and no reader gets
// it from the history.
func TestTime01EphemeralEvents(t *testing.T) {
	t.Run("EX-01 EX-03 V1, V2 and event streams get it without a place", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		v1, _ := r.connect()
		v1.subscribe("orders")
		v2, _ := r.second()
		v2.join("orders", "")
		one, two := r.get("channel=orders"), r.get("channel=orders&channel=bills")
		one.want("subscribed")
		two.want("subscribed")
		two.want("subscribed")
		first := r.publish("orders", "tick", "1")
		// An ephemeral event has no order relative to stored events, so these are read first.
		v1.want("tick")
		v2.want("tick")
		before := map[*reader]sse{one: one.want("tick"), two: two.want("tick")}
		r.cast("orders", "typing", `{"who":"a"}`, tagged(map[string]string{"k": "v"}))
		last := r.publish("orders", "tick", "2")
		if m := v1.want("typing"); m.text != `{"event":"typing","channel":"orders","data":"{\"who\":\"a\"}"}` {
			t.Errorf("V1 got %s", m.text)
		}
		v1.want("tick")
		m := v2.want("typing")
		if m.MessageID != `e-{"who":"a"}` || strings.Contains(m.text, "serial") || strings.Contains(m.text, "stream_id") ||
			!strings.Contains(m.text, `"tags":{"k":"v"}`) || !strings.Contains(m.text, `"extras":{"ephemeral":true}`) {
			t.Errorf("V2 got %s", m.text)
		}
		if m := v2.want("tick"); m.Serial != last.Offset {
			t.Errorf("V2 got %s", m.text)
		}
		for _, s := range []*reader{one, two} {
			heard := s.want("typing")
			if heard.last != before[s].last || strings.Contains(heard.data, "serial") {
				t.Errorf("an event stream got %+v after %+v", heard, before[s])
			}
			if after := s.want("tick"); after.last == before[s].last {
				t.Errorf("the id stays %s", after.last)
			}
		}
		// It is in neither the rewind nor the resume.
		again, _ := r.second()
		again.join("orders", `,"rewind":10`)
		if got := fmt.Sprint(again.events(2)); got != "[1 2]" {
			t.Errorf("rewound %s", got)
		}
		again.rewound()
		again.from("orders", first.Epoch, first.Offset, "")
		if got := fmt.Sprint(again.events(1)); got != "[2]" {
			t.Errorf("resumed %s", got)
		}
		again.summary()
	})
	t.Run("EX-01 it is not what a cache channel remembers", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		p, _ := r.connect()
		p.subscribe("cache-rates")
		p.want("pusher:cache_miss")
		r.publish("cache-rates", "rate", "1")
		p.want("rate")
		r.cast("cache-rates", "rate", "2")
		p.want("rate")
		q, _ := r.connect()
		q.subscribe("cache-rates")
		if m := q.want("rate"); m.str() != "1" {
			t.Errorf("remembered %s", m.text)
		}
		q.usable()
	})
	t.Run("EX-01 it is no delta base, and leaves those that there are", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		d := decode(r.subscribed("market", true))
		forms := ""
		for n := range 6 {
			r.publish("market", "tick", tick(n))
			text, form := d.next()
			if !strings.Contains(text, tick(n)) {
				t.Fatalf("event %d came as %s", n, text)
			}
			forms += form + " "
			r.cast("market", "tick", tick(100+n))
			if m := d.p.want("tick"); m.Sequence != nil {
				t.Errorf("it has a number: %s", m.text)
			}
		}
		if forms != "full delta delta delta delta delta " {
			t.Errorf("forms %s", forms)
		}
	})
	t.Run("TF-14 filters and exclusion hold", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.Filters = true })
		p, id := r.second()
		p.join("orders", `,"filter":{"key":"k","cmp":"eq","val":"a"}`)
		r.cast("orders", "typing", "1", tagged(map[string]string{"k": "b"}))
		r.cast("orders", "typing", "2", tagged(map[string]string{"k": "a"}), func(e *broker.Event) { e.ExcludeSocket = id })
		r.cast("orders", "typing", "3", tagged(map[string]string{"k": "a"}))
		if m := p.want("typing"); m.str() != "3" {
			t.Errorf("got %s", m.text)
		}
		p.alive()
	})
	t.Run("EX-01 a client event with extras.ephemeral is not stored", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, clientEvents)
		sender, id := r.second()
		sender.joinSigned(id, "private-room")
		other, id := r.second()
		other.joinSigned(id, "private-room")
		v1, id := r.connect()
		v1.subscribeSigned(id, "private-other")
		for _, extras := range []string{`{"ephemeral":true}`, `{"ephemeral":true,"echo":false}`} {
			sender.say(`{"event":"client-move","channel":"private-room","data":{"x":1},"extras":%s}`, extras)
			m := other.want("client-move")
			if m.Serial != 0 || m.MessageID == "" {
				t.Errorf("got %s", m.text)
			}
			if !strings.Contains(extras, "echo") {
				sender.want("client-move")
			}
		}
		// V1 has no extras: a member of that name has no effect.
		v1.say(`{"event":"client-kept","channel":"private-other","data":{},"extras":{"ephemeral":true}}`)
		eventually(t, "the event of V1 is stored", func() bool { return r.kept("private-other") == 1 })
		if n := r.kept("private-room"); n != 0 {
			t.Errorf("%d events of the room are stored", n)
		}
		sender.alive()
	})
	t.Run("EX-01 who is sent the past gets it at once", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		r.publishMany("orders", 1, 90)
		p, _ := r.second()
		p.join("orders", `,"rewind":90`)
		r.cast("orders", "typing", "now")
		heard, past, done := 0, 0, false
		for heard == 0 || !done {
			switch m := p.next(); {
			case m.str() == "now":
				heard++
			case m.Event == "sockudo:rewind_complete":
				done = true
			default:
				past++
			}
		}
		if p.alive(); heard != 1 || past != 90 {
			t.Errorf("heard %d times among %d", heard, past)
		}
	})
}

func (p *peer) joinSigned(id, channel string) {
	p.t.Helper()
	p.join(channel, fmt.Sprintf(`,"auth":"key:%s"`, pusher.SignChannel("secret", id, channel, "", false)))
}

// kept returns the number of events of a channel in the log.
func (r *rig) kept(channel string) int {
	page, err := r.log.Read(context.Background(), "app", channel, broker.Query{Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	return len(page.Publications)
}
