package fanout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestBoundsCountAllThatEventsCarry: data, extras and tags of an event all count in every bound in bytes.
func TestBoundsCountAllThatEventsCarry(t *testing.T) {
	const large = 15 << 10
	text := strings.Repeat("x", large)
	tags := map[string]string{}
	for i := range 30 {
		tags[fmt.Sprint("tag-", i)] = text[:512]
	}
	s := newStage(false, 64, 1, 100)
	c := s.channels[0]
	for name, ev := range map[string]broker.Event{
		"data":   {Name: "e", Data: []byte(text)},
		"extras": {Name: "e", Data: []byte("1"), Extras: []byte(`{"x":"` + text + `"}`)},
		"tags":   {Name: "e", Data: []byte("1"), Tags: tags},
	} {
		e := c.NewEvent(&broker.Publication{Event: ev, Position: broker.Position{Epoch: "e", Offset: 1}})
		if n := e.weight(); n < large || n > 2*large {
			t.Errorf("%s: a job of the shard weighs %d", name, n)
		}
		if n := e.Size(); n < 3*large || n > 4*large {
			t.Errorf("%s: kept for those who come back it has %d bytes", name, n)
		}
		if n := e.Bytes(); n < large || n > 2*large {
			t.Errorf("%s: it carries %d bytes", name, n)
		}
		w := &Way{Line: c.Line, until: 10, MostBytes: 3 * large / 2}
		if !w.allows(e) {
			t.Errorf("%s: one event is too much for one who may have missed %d bytes", name, w.MostBytes)
		}
		if w.passes(e); w.allows(e) {
			t.Errorf("%s: two events are not too much for one who may have missed %d bytes", name, w.MostBytes)
		}
		w.Waits()
		if f, _ := w.Foresee([]*Event{c.NewEvent(&broker.Publication{Event: ev, Position: broker.Position{Offset: 2}})}, 2); f == nil {
			t.Errorf("%s: that they are too much is not foreseen", name)
		}
	}
}

// TestBoundsCountWhatEscapesTake: text that grows when it is escaped counts with its escaped size, in each
// bound of memory.
func TestBoundsCountWhatEscapesTake(t *testing.T) {
	const large = 30 << 10
	for text, times := range map[string]int{"x": 1, "\"": 2, "\\": 2, "\n": 2, "\x01": 6, "é": 1} {
		c := newStage(false, 64, 1, 100).channels[0]
		data := []byte("text " + strings.Repeat(text, large/len(text)))
		if got, want := pusher.Escapes(data), len(pusher.AppendString(nil, data))-2-len(data); got != want {
			t.Errorf("%q: %d bytes for escapes, want %d", text, got, want)
		}
		e := c.prepare(&broker.Publication{Event: broker.Event{Name: "e", Data: data, HasKey: true}, Position: broker.Position{Epoch: "e", Offset: 1}, Time: c.stage.now})
		if !e.Tracked {
			t.Fatalf("%q is no base", text)
		}
		framed := len(e.full(V2 | Delta).Payload())
		if framed < times*large {
			t.Errorf("%q: the frame has %d bytes", text, framed)
		}
		c.owned.Count()
		if n := c.owned.Size(); n < framed || n > 3*framed {
			t.Errorf("%q: as a base it has %d bytes, its frame %d", text, n, framed)
		}
		if n := e.weight(); n < times*large || n > 2*framed {
			t.Errorf("%q: a job of the shard weighs %d, its frame %d", text, n, framed)
		}
		if n := e.Size(); n < 2*times*large || n > 4*framed {
			t.Errorf("%q: kept for those who come back it has %d bytes, its frame %d", text, n, framed)
		}
		if n := e.Bytes(); n != len(data) {
			t.Errorf("%q: it carries %d bytes", text, n)
		}
	}
	// Without compression the data is not examined otherwise.
	for origin, deltas := range map[broker.Origin]bool{broker.OriginHTTP: false, broker.OriginClient: false, broker.OriginRaw: true} {
		c := newStage(false, 64, 1, 100).channels[0]
		c.Govern(&Rules{Delta: app.Delta{Enabled: deltas}})
		data := []byte(`"` + strings.Repeat(`\"`, large/2) + `"`)
		if !deltas {
			data = []byte("text " + strings.Repeat("\x01", large))
		}
		e := c.NewEvent(&broker.Publication{Event: broker.Event{Name: "e", Data: data, Origin: origin}, Position: broker.Position{Epoch: "e", Offset: 1}, Time: c.stage.now})
		framed := len(e.Bare(pusher.V1, true).Payload())
		if n := e.weight(); n < framed || n > 2*framed {
			t.Errorf("plain, origin %v: a job of the shard weighs %d, its frame %d", origin, n, framed)
		}
		if n := e.Size(); n < 2*framed || n > 4*framed {
			t.Errorf("plain, origin %v: kept for those who come back it has %d bytes, its frame %d", origin, n, framed)
		}
	}
}
