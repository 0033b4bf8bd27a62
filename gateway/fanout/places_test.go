package fanout

import (
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
)

// TestTime15AnIdleReaderCostsNothing: a reader whose position has not changed gets the shared heartbeat
// frame, and no frame is made for it.
func TestTime15AnIdleReaderCostsNothing(t *testing.T) {
	s := newStage(false, 64, 1, 100)
	sock, beat := s.shard.Open(nil, s.kind), socket.NewFrame([]byte(":\n\n"), 0)
	channels := []string{"a", "b"}
	p := NewPlaces(channels, nil, app.Recovery{Enabled: true, MaxEvents: 100, MaxBytes: 1 << 20})
	p.Of("a").Begin(sock, beat, "e", 3)
	p.Of("b").Begin(sock, beat, "e", 4)
	sock.Outbox().Take(nil)
	var batch []*socket.Frame
	p.Send(sock, beat)
	if batch, _ = sock.Outbox().Take(nil); len(batch) != 1 || batch[0] != beat {
		t.Errorf("got %d frames, want the beat itself", len(batch))
	}
	o := p.Of("a")
	o.mu.Lock()
	o.pass(&Event{texts: &texts{Pub: &broker.Publication{Position: broker.Position{Epoch: "e", Offset: 9}}}})
	o.mu.Unlock()
	p.Send(sock, beat)
	p.Send(sock, beat)
	want := "id: " + string(pusher.AppendPlaces(nil, []pusher.Place{{Stream: "e", Serial: 9}, {Stream: "e", Serial: 4}}, pusher.ChannelsSum(channels))) + "\n:\n\n"
	if batch, _ = sock.Outbox().Take(batch[:0]); len(batch) != 2 || string(batch[0].Bytes()) != want || batch[1] != beat {
		t.Errorf("then %d frames, the first is %q, want %q", len(batch), batch[0].Bytes(), want)
	}
}
