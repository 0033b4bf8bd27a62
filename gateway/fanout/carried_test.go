package fanout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// What an event carries counts in all bounds in bytes, whether it is data, extras or tags.
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
