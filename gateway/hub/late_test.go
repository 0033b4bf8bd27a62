package hub

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// What is on its way to a shard is done in order, also when the last subscriber has gone
// meanwhile.
func TestTrust19LateGapClearsNothingNewer(t *testing.T) {
	s := newStage(false, 64, 1, 100)
	c := s.channels[0]
	c.caches = true
	list := &c.shards[0]
	list.begin(broker.Position{Epoch: "one", Offset: 900})
	sock := s.shard.open(nil, s.kind)
	list.put(&entry{sock: sock, greet: func(broker.Position, *event) {}})
	c.miss(broker.Gap{After: broker.Position{Epoch: "one", Offset: 900}, Resume: broker.Position{Epoch: "two"}, Reason: broker.GapEpoch})
	list.drop(sock.Outbox())
	// Nobody is there any more, but the shard has not come to the gap.
	newer := c.newEvent(&broker.Publication{
		Event:    broker.Event{Name: "newer", Data: []byte(`{"n":1}`), Origin: broker.OriginHTTP},
		Position: broker.Position{Epoch: "two", Offset: 1}, Time: time.Now(),
	})
	c.post(newer)
	if list.posted != 2 {
		t.Fatalf("%d jobs are on their way, want the gap and what is newer", list.posted)
	}
	s.shard.next()
	for _, j := range s.shard.loop.jobs {
		j.p.deliver(s.shard, j.to)
	}
	if list.cached != newer || list.served() != (broker.Position{Epoch: "two", Offset: 1}) || list.posted != 0 {
		t.Errorf("the last event is %v, the list is served up to %v, %d jobs are left", list.cached, list.served(), list.posted)
	}
}
