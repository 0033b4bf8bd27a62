package fanout

import (
	"net"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/socket"
)

// taker is a connection that accepts every write.
type taker struct{ net.Conn }

func (taker) Write(p []byte) (int, error)      { return len(p), nil }
func (taker) SetWriteDeadline(time.Time) error { return nil }

// TestWayIn04AnIdleShardIsServedByWhoComes: an event for few sockets of an idle shard is delivered by the
// goroutine that posts it. Everything else waits for the goroutine of the shard, which does not run in this
// test.
func TestWayIn04AnIdleShardIsServedByWhoComes(t *testing.T) {
	big := make([]byte, hereBytes)
	for _, c := range []struct {
		name    string
		sockets int
		data    []byte
		before  func(s *Shard, l *Line)
		here    bool
	}{
		{name: "a single socket", sockets: 1, here: true},
		{name: "as many as may be", sockets: hereSockets, here: true},
		{name: "one more", sockets: hereSockets + 1},
		{name: "too many bytes", sockets: 2, data: big},
		{name: "soon after another one", sockets: 1, before: func(s *Shard, _ *Line) { s.last = time.Now().Add(time.Hour) }},
		{name: "while the shard is busy", sockets: 1, before: func(s *Shard, _ *Line) { s.busy = true }},
		{name: "at its end", sockets: 1, before: func(s *Shard, _ *Line) { s.stopping = true }},
		{name: "behind a gap", sockets: 1, before: func(_ *Shard, l *Line) {
			l.Miss(broker.Gap{Resume: broker.Position{Epoch: "e", Offset: 1}, Reason: broker.GapEpoch})
		}},
		{name: "behind who goes on through the past", sockets: 1, before: func(s *Shard, _ *Line) { s.wake(job{then: func() {}}) }},
		{name: "behind a frame of somebody else", sockets: 1, before: func(s *Shard, _ *Line) { s.Mark(new(socket.Outbox)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newStage(false, 64, 1, 100)
			l, s := x.channels[0].Line, x.shard
			for range c.sockets {
				l.Shards[0].Put(&Entry{Sock: s.Open(taker{}, x.kind), Greet: func(Start) {}})
			}
			if c.before != nil {
				c.before(s, l)
			}
			if c.data == nil {
				c.data = []byte(`{"k":"a"}`)
			}
			s.mu.Lock()
			waiting := len(s.jobs)
			s.mu.Unlock()
			l.Post(x.channels[0].NewEvent(&broker.Publication{
				Event: broker.Event{Name: "tick", Data: c.data}, Position: broker.Position{Epoch: "e", Offset: 7}, Time: time.Now(),
			}))
			if got := s.Waiting() == waiting; got != c.here {
				t.Errorf("handed over at once: %v, want %v", got, c.here)
			}
			if want := uint64(c.sockets); c.here && (s.Delivered.Load() != want || l.Shards[0].Served().Offset != 7) {
				t.Errorf("%d sockets got it, want %d; the list is served up to %v", s.Delivered.Load(), want, l.Shards[0].Served())
			}
		})
	}
}

// TestWayIn04AShardSaysThatItIsLaden: a shard with half of its queue full reports that it is not prompt,
// until its goroutine has done a round.
func TestWayIn04AShardSaysThatItIsLaden(t *testing.T) {
	x := newStage(false, 64, 1, 100)
	for i := range maxJobs/2 + 1 {
		if x.hall.Prompt() != (i <= maxJobs/2) {
			t.Fatalf("with %d jobs: %v", i, x.hall.Prompt())
		}
		x.shard.Call(func() {})
	}
	if x.hall.Prompt() {
		t.Error("a shard with much to do is prompt")
	}
	x.shard.next()
	if !x.hall.Prompt() {
		t.Error("a shard that has done a round is not prompt")
	}
}
