package fanout

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
)

// headOf is a past that records the heads of ways: the offsets from which on events are the subscription's
// own.
type headOf struct {
	epoch string
	heads []uint64
}

func (h *headOf) Next(dst []*Event, p *Way, _ int) ([]*Event, uint64, bool) {
	if p.Epoch == h.epoch && p.Latest {
		h.heads = append(h.heads, p.Head)
	}
	return dst, p.Place, false
}

func (*headOf) Leave(*Way) {}

// TestTime16AHeadIsOfItsLife: the log begins a new epoch with lower offsets while a subscription is being
// resumed, which then gets a snapshot. Before, with its head in the old epoch, its own events of the new
// epoch counted as ones that may be left out for lack of room.
func TestTime16AHeadIsOfItsLife(t *testing.T) {
	s := newStage(false, 16, 1, 100)
	ch, past := s.channels[0], &headOf{epoch: "two"}
	ch.Serials, ch.Past = true, past
	list := &ch.Shards[0]
	list.Begin(broker.Position{Epoch: "one", Offset: 900}, false)
	sock := s.shard.Open(nil, s.kind)
	ends, snapshots := 0, 0
	way := &Way{
		Line: ch.Line, Shard: s.shard, Out: sock.Outbox(), Epoch: "one", Place: 800,
		Ends: told{&ends, "done"}, Instead: told{&snapshots, "snapshot"},
	}
	list.Put(&Entry{Sock: sock, Form: V2, Way: way, Greet: func(Start) {}})
	way.Wake()
	work := func() {
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
		later := s.shard.loop.later
		s.shard.loop.later = nil
		for _, j := range later {
			s.shard.goOn(j)
		}
		for frames, again := sock.Outbox().Take(nil); len(frames) > 0 || again; frames, again = sock.Outbox().Take(nil) {
			if again {
				s.shard.loop.past = roundPast
				s.shard.CatchUp(sock.Outbox())
			}
		}
	}
	work()
	ch.Miss(broker.Gap{After: broker.Position{Epoch: "one", Offset: 900}, Resume: broker.Position{Epoch: "two", Offset: 3}, Reason: broker.GapEpoch})
	work()
	if ends != 1 || len(past.heads) == 0 {
		t.Fatalf("the resume ended %d times, and the snapshot was asked for %d times", ends, len(past.heads))
	}
	for _, head := range past.heads {
		if head != 3 {
			t.Errorf("what lies above %d counts as its own, want 3", head)
		}
	}
	list.Drop(sock.Outbox())
}
