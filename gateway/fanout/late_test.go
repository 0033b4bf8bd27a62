package fanout

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// TestTrust19LateGapClearsNothingNewer: the jobs of a shard are done in order, even if the last subscriber
// has left meanwhile.
func TestTrust19LateGapClearsNothingNewer(t *testing.T) {
	s := newStage(false, 64, 1, 100)
	c := s.channels[0]
	c.Caches = true
	list := &c.Shards[0]
	list.Begin(broker.Position{Epoch: "one", Offset: 900}, false)
	sock := s.shard.Open(nil, s.kind)
	list.Put(&Entry{Sock: sock, Greet: func(Start) {}})
	c.Miss(broker.Gap{After: broker.Position{Epoch: "one", Offset: 900}, Resume: broker.Position{Epoch: "two"}, Reason: broker.GapEpoch})
	list.Drop(sock.Outbox())
	// No subscriber is left, but the shard has not yet processed the gap.
	newer := c.NewEvent(&broker.Publication{
		Event:    broker.Event{Name: "newer", Data: []byte(`{"n":1}`), Origin: broker.OriginHTTP},
		Position: broker.Position{Epoch: "two", Offset: 1}, Time: time.Now(),
	})
	c.Post(newer)
	if list.posted != 2 {
		t.Fatalf("%d jobs are on their way, want the gap and what is newer", list.posted)
	}
	s.shard.next()
	for _, j := range s.shard.loop.jobs {
		j.p.deliver(s.shard, j.to)
	}
	if list.cached != newer || list.Served() != (broker.Position{Epoch: "two", Offset: 1}) || list.posted != 0 {
		t.Errorf("the last event is %v, the list is served up to %v, %d jobs are left", list.cached, list.Served(), list.posted)
	}
}

// TestV207AGapMayLeaveNothing: a client that subscribes after everything was lost is told serial 0, until
// there is an event.
func TestV207AGapMayLeaveNothing(t *testing.T) {
	for _, empty := range []bool{true, false} {
		s := newStage(false, 64, 1, 100)
		c := s.channels[0]
		told := func() (serial uint64) {
			sock := s.shard.Open(nil, s.kind)
			c.Shards[0].Put(&Entry{Sock: sock, Greet: func(at Start) { serial = at.Told() }})
			c.Shards[0].Drop(sock.Outbox())
			return serial
		}
		c.Shards[0].Begin(broker.Position{Epoch: "one", Offset: 900}, false)
		c.Miss(broker.Gap{Resume: broker.Position{Epoch: "two", Offset: 5}, Reason: broker.GapEpoch, Empty: empty})
		want := uint64(5)
		if empty {
			want = 0
		}
		if serial := told(); serial != want {
			t.Errorf("told %d, want %d (empty: %t)", serial, want, empty)
		}
		c.Post(c.NewEvent(&broker.Publication{Event: broker.Event{Name: "e"}, Position: broker.Position{Epoch: "two", Offset: 6}}))
		if serial := told(); serial != 6 {
			t.Errorf("told %d behind an event at 6", serial)
		}
	}
}
