package fanout

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// TestRooms07FramesAreMadeBeforeTheLock: subscribing and leaving do not wait until the frames of a
// publication are made. Another goroutine holds the lock here while they are.
func TestRooms07FramesAreMadeBeforeTheLock(t *testing.T) {
	s := newStage(false, 64, 1, 100)
	c := s.channels[0]
	for _, of := range []struct {
		form     Form
		deflates bool
	}{{0, false}, {V2, true}, {Delta | Keyed, false}, {Delta | Keyed | V2, true}, {Delta | VCDIFF, false}} {
		kind := *s.kind
		if of.deflates {
			kind.Form = websocket.Packed
		}
		c.Shards[0].Put(&Entry{Sock: s.shard.Open(nil, &kind), Form: of.form, Greet: func(Start) {}})
	}
	event := func(n int) *Event {
		return c.prepare(&broker.Publication{
			Event:    broker.Event{Name: "tick", Data: fmt.Appendf(nil, `{"k":"a","n":%d,"pad":%q}`, n, strings.Repeat("steady ", 200))},
			Position: broker.Position{Epoch: "e", Offset: uint64(n)}, Prev: uint64(n - 1), Time: s.now,
		})
	}
	to := &c.Shards[0]
	// The interval is 4: full frames and deltas have both occurred, and a delta is next.
	for n := 1; n <= 5; n++ {
		event(n).deliver(s.shard, to)
	}
	free := to.occupy()
	p := event(6)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.deliver(s.shard, to)
	}()
	eventually(t, "the frames are made while somebody has the lock", func() bool {
		if p.plain[pusher.V1].Load() == nil || p.plain[pusher.V2].Load() == nil {
			return false
		}
		for _, f := range []Form{Keyed, Keyed | V2, VCDIFF} {
			if p.deltas[f].Load() == nil {
				return false
			}
		}
		return true
	})
	select {
	case <-done:
		t.Error("it was delivered without the lock")
	default:
	}
	free()
	<-done
}

// occupy holds the lock, as if a job were about to be posted, until the returned function is called.
func (s *Subscribers) occupy() (free func()) {
	occupied, release, freed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(freed)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.posted++
		close(occupied)
		<-release
	}()
	<-occupied
	return sync.OnceFunc(func() {
		close(release)
		<-freed
	})
}
