package hub

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/fanout"
)

// frameOf decodes the text of an event frame.
func frameOf(t *testing.T, text string) message {
	t.Helper()
	m := message{text: text}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// padded returns event data with the given JSON member and enough text for a delta to pay off.
func padded(member string) string {
	return fmt.Sprintf(`{%s,"note":%q}`, member, strings.Repeat("steady ", 60))
}

func TestConflationKeys(t *testing.T) {
	long := strings.Repeat("k", 257)
	for _, c := range []struct{ id, path, data, want string }{
		{"DS-24", "symbol", padded(`"symbol":"BTC"`), "BTC"},
		{"DS-24", "data.symbol", padded(`"symbol":"BTC"`), "BTC"},
		{"DS-24", "data.symbol", padded(`"data":{"symbol":"ETH"},"symbol":"BTC"`), "ETH"},
		{"DS-24", "a.b.0", padded(`"a":{"b":["first"]}`), "first"},
		{"DS-24", "symbol", padded(`"other":1`), ""},
		{"DS-24", "symbol", padded(`"symbol":null`), ""},
		{"DS-24", "symbol", padded(`"symbol":{"x":1}`), ""},
		{"DS-24", "symbol", padded(`"symbol":["x"]`), ""},
		{"DS-25", "symbol", padded(`"symbol":12.50`), "12.50"},
		{"DS-25", "symbol", padded(`"symbol":12345678901234567890`), "12345678901234567890"},
		{"DS-25", "symbol", padded(`"symbol":true`), "true"},
		{"DS-25", "symbol", padded(`"symbol":"a\"b é\u00fc"`), `a"b éü`},
		{"DS-26", "symbol", padded(`"symbol":"` + long + `"`), ""},
		{"DS-26", "symbol", padded(`"symbol":"` + long[1:] + `"`), long[1:]},
	} {
		t.Run(fmt.Sprintf("%s %s of %.40s", c.id, c.path, c.data), func(t *testing.T) {
			r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path = c.path })
			d := decode(r.subscribed("market", true))
			for n := range 2 {
				r.publish("market", "tick", strings.Replace(c.data, "steady", fmt.Sprint("steady", n), 1))
				text, form := d.next()
				if m := frameOf(t, text); m.Key == nil || *m.Key != c.want {
					t.Errorf("the key in %s is not %q", text, c.want)
				}
				if want := []string{"full", "delta"}[n]; form != want {
					t.Errorf("event %d came %s, want %s", n, form, want)
				}
			}
		})
	}
}

func TestBounds(t *testing.T) {
	t.Run("DS-27 one conflation value too many evicts the least recently used one", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path, a.Delta.MaxKeys = "symbol", 2 })
		d := decode(r.subscribed("market", true))
		for i, c := range []struct{ key, form string }{
			{"a", "full"}, {"b", "full"}, {"a", "delta"}, {"c", "full"}, {"a", "delta"}, {"b", "full"}, {"c", "full"}, {"b", "delta"},
		} {
			r.publish("market", "tick", padded(fmt.Sprintf(`"symbol":%q,"n":%d`, c.key, i)))
			if text, form := d.next(); form != c.form {
				t.Errorf("step %d: %s came %s, want %s: %.80s", i, c.key, form, c.form, text)
			}
		}
	})
	t.Run("DS-28 one channel too many evicts the least recently used one", func(t *testing.T) {
		r := newRig(t, func(o *Options, _ *appT) { o.MaxDeltaChannels = 2 })
		p := r.subscribed("a", true)
		p.subscribe("b")
		d := decode(p)
		for i, c := range []struct{ channel, form string }{
			{"a", "full"}, {"b", "full"}, {"a", "delta"}, {"+c", ""}, {"a", "delta"}, {"b", "delta"}, {"c", "full"}, {"b", "delta"}, {"a", "full"}, {"c", "full"}, {"a", "delta"},
		} {
			if channel, joins := strings.CutPrefix(c.channel, "+"); joins {
				p.subscribe(channel)
				p.usable() // subscribing has work to do after its answer; it is done here
				continue
			}
			r.publish(c.channel, "tick", tick(i))
			if _, form := d.next(); form != c.form {
				t.Errorf("step %d: %s came %s, want %s", i, c.channel, form, c.form)
			}
		}
	})
	t.Run("DS-09 at the wrap of numbers everything is full again", func(t *testing.T) {
		feed := &handFeed{}
		r := newRig(t, func(o *Options, a *appT) { o.Feed, a.Delta.Path = feed, "symbol" })
		// Find an offset at which the sequence number is about to wrap.
		rules, err := fanout.RulesOf(r.app, "market", true)
		if err != nil {
			t.Fatal(err)
		}
		salt := rules.Salt(&fanout.Line{App: "app", Name: "market", Serials: r.app.HistoryEnabled || r.app.Recovery.Enabled}, "e")
		offset := uint64(1)
		for delta.Number(offset, salt) < math.MaxInt32 {
			offset += max(1, uint64(math.MaxInt32-delta.Number(offset, salt)))
		}
		feed.at = broker.Position{Epoch: "e", Offset: offset - 3}
		d := decode(r.subscribed("market", true))
		last := int64(0)
		for i, want := range []string{"full", "full", "delta", "full", "full", "delta"} {
			feed.sink("market").Publication(&broker.Publication{
				Event:    broker.Event{Name: "tick", Data: []byte(padded(fmt.Sprintf(`"symbol":"%d","n":%d`, i%2, i)))},
				Position: broker.Position{Epoch: "e", Offset: offset - 2 + uint64(i)}, Prev: offset - 3 + uint64(i), Time: time.Unix(1, 0),
			})
			text, form := d.next()
			m := frameOf(t, text)
			if form != want || *m.Sequence >= 1<<31 || *m.Sequence < 0 {
				t.Errorf("event %d came %s with number %d, want %s", i, form, *m.Sequence, want)
			}
			if i == 3 && *m.Sequence > last {
				t.Errorf("the number did not wrap: %d after %d", *m.Sequence, last)
			}
			last = *m.Sequence
		}
	})
	t.Run("DS-42 two changed numbers in 1.2 kB save 65 percent", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("market", true))
		full := 0
		for n := range 200 {
			r.publish("market", "tick", fmt.Sprintf(`{"price":%d.%02d,"volume":%d,"note":%q}`, 64000+n*7%100, n*13%100, 1200+n*31%90, noise(7)+noise(8)[:500]))
			text, _ := d.next()
			full += len(text)
		}
		if saved := 100 - 100*d.bytes/full; saved < 65 {
			t.Errorf("%d %% of %d bytes saved", saved, full)
		}
	})
}

func TestOneTextPerEvent(t *testing.T) {
	t.Run("DS-02 DS-03 DS-32 data is an object where it was one, and a string otherwise", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("market", true))
		for n := range 4 {
			data := tick(n)
			if n >= 2 {
				data = fmt.Sprint("no JSON ", n, strings.Repeat(" steady", 60))
			}
			r.publish("market", fmt.Sprint("event", n), data)
			text, form := d.next()
			m := frameOf(t, text)
			if n < 2 && string(m.Data) != data || n >= 2 && m.str() != data {
				t.Errorf("event %d came %s as %s", n, form, text)
			}
			if m.Event != fmt.Sprint("event", n) {
				t.Errorf("the event is %q", m.Event)
			}
		}
	})
	t.Run("DS-34 client events take part with the id of their sender", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("room", true))
		for n := range 3 {
			r.publish("room", "client-move", tick(n), func(e *broker.Event) { e.Origin, e.UserID = broker.OriginClient, `u"1` })
			text, form := d.next()
			if !strings.Contains(text, `,"user_id":"u\"1","sequence":`) || (form == "delta") != (n > 0) {
				t.Errorf("event %d came %s: %s", n, form, text)
			}
		}
	})
	t.Run("DS-35 protocol events take no part", func(t *testing.T) {
		r := newRig(t, nil)
		p := r.subscribed("market", true)
		d := decode(p)
		r.publish("market", "tick", tick(0))
		d.next()
		p.say(`{"event":"pusher:subscribe","data":{"channel":"other"}}`)
		p.say(`{"event":"pusher:subscribe","data":{"channel":""}}`)
		p.say(`{"event":"pusher:ping","data":{}}`)
		for _, want := range []string{"pusher_internal:subscription_succeeded", "pusher:error", "pusher:subscription_error", "pusher:pong"} {
			if m := p.want(want); m.Sequence != nil || m.Key != nil {
				t.Errorf("got %s", m.text)
			}
		}
		r.publish("market", "tick", tick(1))
		if _, form := d.next(); form != "delta" {
			t.Errorf("the next event came %s", form)
		}
	})
	t.Run("DS-29 no number names two texts after resyncs, subscriptions and reconnects", func(t *testing.T) {
		r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path, a.Delta.MaxKeys = "symbol", 2 })
		texts := map[string]string{}
		for range 3 {
			p := r.subscribed("market", true)
			d := decode(p)
			for n := range 20 {
				switch n {
				case 6:
					p.say(`{"event":"pusher:delta_sync_error","data":"{\"channel\":\"market\"}"}`)
					p.usable()
				case 12:
					p.say(`{"event":"pusher:unsubscribe","data":{"channel":"market"}}`)
					p.subscribe("market")
				}
				r.publish("market", "tick", tick(n))
				text, _ := d.next()
				m := frameOf(t, text)
				at := fmt.Sprint(*m.Key, *m.Sequence)
				if had, ok := texts[at]; ok && had != text {
					t.Fatalf("number %s names %s and %s", at, had, text)
				}
				texts[at] = text
			}
			p.hangUp()
		}
		if len(texts) != 60 {
			t.Errorf("%d texts for 60 events", len(texts))
		}
	})
}

// TestBasesFromTheLog: publications read from the log become delta bases, but only sockets that hold such a
// base get deltas against it.
func TestBasesFromTheLog(t *testing.T) {
	log := newMemory(t, "app")
	r := newRig(t, func(o *Options, a *appT) {
		o.History, o.Feed, a.Recovery.Enabled, a.Recovery.MaxEvents, a.Recovery.MaxBytes = log, log, true, 100, 1<<20
	})
	t.Cleanup(func() { _ = log.Close() })
	publishTick := func(n int) (at broker.Position) {
		ev := &broker.Event{Name: "tick", Data: []byte(tick(n))}
		stored, err := log.Publish(t.Context(), "app", broker.Outgoing{Channel: "market", Event: ev})
		if err != nil {
			t.Fatal(err)
		}
		return stored[0].Position
	}
	var at [5]broker.Position
	for n := range at {
		at[n] = publishTick(n)
	}
	p := r.subscribed("market", true)
	c := r.hub.attached()[0]
	// A socket that proves to hold the last publication, as a resume does, gets even the first live
	// publication as a delta.
	client := r.find(t)
	way := &fanout.Way{Line: c.Line, Shard: client.shard, Out: client.sock.Outbox(), Epoch: at[4].Epoch, Place: at[4].Offset, Ends: fanout.Silently{}}
	if !c.Shards[client.shard.ID].Resume(way, at[4].Offset, at[3].Offset, true) {
		t.Fatal("the socket has not subscribed")
	}
	way.Wake()
	publishTick(5)
	number := delta.Number(at[4].Offset, c.Rules().Salt(c.Line, at[4].Epoch))
	if m := p.want("pusher:delta"); !strings.Contains(m.text, fmt.Sprintf(`"base_index":%d`, number)) {
		t.Errorf("got %s, want a delta against %d", m.text, number)
	}
	fresh := r.subscribed("market", true)
	publishTick(6)
	fresh.want("tick")
}

// find returns the only connection of the hub.
func (r *rig) find(t *testing.T) *Client {
	t.Helper()
	all := r.hub.everybody()
	if len(all) != 1 {
		t.Fatalf("%d connections, want one", len(all))
	}
	return all[0]
}
