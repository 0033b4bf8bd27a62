package fanout

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
)

// TestTime04AWayIntoAStreamThatHasEnded: a channel is reset after the position of a reader was accepted and
// before its subscription. The reader is told so, and gets the publications since the reset.
func TestTime04AWayIntoAStreamThatHasEnded(t *testing.T) {
	s := newStage(false, 16, 1, 100)
	ch := s.channels[0]
	past := &pastOf{epoch: "now", waiting: map[*Way]bool{}, read: map[*Way]bool{}, high: 10}
	ch.Serials, ch.Past = true, past
	list := &ch.Shards[0]
	list.Begin(broker.Position{Epoch: "now", Offset: 10}, false)
	sock := s.shard.Open(nil, s.kind)
	ends := 0
	way := &Way{Line: ch.Line, Shard: s.shard, Out: sock.Outbox(), Epoch: "before", Place: 3, Ends: told{&ends, "done"}}
	list.Put(&Entry{Sock: sock, Form: V2, Way: way, Greet: func(Start) {}})
	way.Wake()
	for offset := uint64(11); offset <= 12; offset++ {
		p := ch.NewEvent(&broker.Publication{
			Event: broker.Event{Name: "tick", Data: fmt.Appendf(nil, "%d", offset)}, Position: broker.Position{Epoch: "now", Offset: offset}, Time: s.now,
		})
		past.events, past.high = append(past.events, p), offset
		ch.Post(p)
	}
	s.offset = 12
	var got []string
	for range 10 {
		for s.shard.Waiting()+s.shard.Woken() > 0 {
			s.shard.next()
			for _, j := range s.shard.loop.jobs {
				if j.p == nil {
					s.shard.goOn(j)
				} else {
					j.p.deliver(s.shard, j.to)
				}
			}
		}
		for frames, again := sock.Outbox().Take(nil); len(frames) > 0 || again; frames, again = sock.Outbox().Take(nil) {
			for _, f := range frames {
				var m message
				if err := json.Unmarshal(f.Payload(), &m); err != nil {
					t.Fatal(err)
				}
				got = append(got, m.Event)
			}
			if again {
				s.shard.loop.past = roundPast
				s.shard.CatchUp(sock.Outbox())
			}
		}
		later := s.shard.loop.later
		s.shard.loop.later = nil
		for _, j := range later {
			s.shard.goOn(j)
		}
	}
	if diff := cmp.Diff([]string{"sockudo:resume_failed", "sockudo:done", "tick", "tick"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := s.hall.Catching.Load(); n != 0 || ends != 1 {
		t.Errorf("%d are behind still, %d ends", n, ends)
	}
}
