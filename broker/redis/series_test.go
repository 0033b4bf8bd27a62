package redis

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/redisserver"
)

// TestV203IDsOfChannelsWhoseNumbersMeet: events of two channels may have equal offsets. Their ids differ
// nevertheless, and are the same live and when they are read.
func TestV203IDsOfChannelsWhoseNumbersMeet(t *testing.T) {
	t.Parallel()
	l := open(t, redisserver.Start(t).URL(), false)
	known := map[string]string{}
	for _, c := range []string{"a", "b", "private-a"} {
		meta := l.keys.channel("app-1", c).meta
		if err := l.pub.Do(t.Context(), l.pub.B().Hset().Key(meta).FieldValue().FieldValue("s", "7000").FieldValue("b", "7000").FieldValue("t", "0").Build()).Error(); err != nil {
			t.Fatal(err)
		}
		live := make(chan *broker.Publication, 2)
		at, err := l.Attach(t.Context(), "app-1", c, channelSink(live))
		if err != nil {
			t.Fatal(err)
		}
		defer at.Detach()
		ev := &broker.Event{Name: "e", Data: []byte("{}")}
		got, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: c, Event: ev}, broker.Outgoing{Channel: c, Event: ev})
		if err != nil {
			t.Fatal(err)
		}
		page, err := l.After(t.Context(), "app-1", c, at.Position(), 10)
		if err != nil || len(page.Publications) != 2 {
			t.Fatalf("after %+v: %v, %v", at.Position(), page, err)
		}
		for i, p := range page.Publications {
			if first := (<-live).ID(); first != p.ID() {
				t.Errorf("%s: the id is %q live and %q read", c, first, p.ID())
			}
			if other := known[p.ID()]; other != "" {
				t.Errorf("event %d of %s and one of %s have the id %q", got[i].Offset, c, other, p.ID())
			}
			known[p.ID()] = c
		}
	}
}

// channelSink passes publications on.
type channelSink chan *broker.Publication

func (s channelSink) Publication(p *broker.Publication) { s <- p }
func (s channelSink) Gap(broker.Gap)                    {}
