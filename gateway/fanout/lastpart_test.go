package fanout

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// newestOf is a snapshot of events, each with a conflation value of its own.
type newestOf struct{ events []*Event }

func (n *newestOf) Next(dst []*Event, w *Way, most int) ([]*Event, uint64, bool) {
	place := w.Place
	w.Ending = true
	for _, e := range n.events {
		if e.Pub.Offset <= w.Place {
			continue
		}
		if w.Ending = most > 0; !w.Ending {
			break
		}
		most--
		dst, place = append(dst, e), e.Pub.Offset
	}
	return dst, place, true
}

func (*newestOf) Leave(*Way) {}

// TestTime02TheLastPartIsNotTheEndYet: an event published between the last part of a snapshot and the turn
// that ends it is delivered as well, however many values the snapshot has.
func TestTime02TheLastPartIsNotTheEndYet(t *testing.T) {
	filter, err := pusher.ParseFilter(`{"events":["wanted"]}`)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(pastFrames*16 - 20); n <= pastFrames*16+4; n++ {
		s := newStage(false, 64, 1, 100)
		ch, from := s.channels[0], &newestOf{}
		ch.Past = from
		event := func(at uint64, name string) *Event {
			return ch.prepare(&broker.Publication{
				Event: broker.Event{Name: name, Data: []byte("{}")}, Position: broker.Position{Epoch: "e", Offset: at}, Prev: at - 1, Time: s.now,
			})
		}
		for at := uint64(1); at <= n; at++ {
			from.events = append(from.events, event(at, "other"))
		}
		list, sock := &ch.Shards[0], s.shard.Open(nil, s.kind)
		list.Begin(broker.Position{Epoch: "e", Offset: n}, false)
		ends := 0
		w := &Way{Line: ch.Line, Shard: s.shard, Out: sock.Outbox(), Latest: true, Ends: told{&ends, "done"}}
		list.Put(&Entry{Sock: sock, Form: V2, Filter: filter, Way: w, Greet: func(Start) {}})
		s.shard.loop.past = roundPast
		s.shard.feed(sock.Outbox(), list)
		wanted := event(n+1, "wanted")
		from.events = append(from.events, wanted)
		wanted.deliver(s.shard, list)
		s.shard.loop.past = roundPast
		for range 3 {
			s.shard.feed(sock.Outbox(), list)
		}
		var got strings.Builder
		frames, _ := sock.Outbox().Take(nil)
		for _, f := range frames {
			got.Write(f.Payload())
		}
		if ends != 1 || strings.Count(got.String(), `"event":"wanted"`) != 1 {
			t.Errorf("of %d values: it ended %d times, and got %s", n, ends, &got)
		}
	}
}
