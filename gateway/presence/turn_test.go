package presence

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// slowSink signals each call, and returns when released.
type slowSink struct{ called, may chan struct{} }

func (s slowSink) Changed(uint64, []Change) {
	s.called <- struct{}{}
	<-s.may
}

// TestRooms07ASinkThatWaitsHoldsNobodyUp: a room's sink may wait for a queue. Other calls to the room return
// meanwhile.
func TestRooms07ASinkThatWaitsHoldsNobodyUp(t *testing.T) {
	g := start(t, kv.NewMemoryTable(nil), "a")
	sink := slowSink{make(chan struct{}), make(chan struct{})}
	m, err := g.Open(t.Context(), "app", "presence-other", sink)
	if err != nil {
		t.Fatal(err)
	}
	g.SetCount("app", "presence-other", 1)
	<-sink.called
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		m.Members()
		m.Counts()
		m.Others()
		m.Idle()
		m.Leave("nobody")
	}()
	select {
	case <-answered:
	case <-time.After(patience):
		t.Error("the room answers nobody while its sink waits")
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		m.Close()
	}()
	select {
	case <-closed:
		t.Error("the room was closed while its sink was being told")
	default:
	}
	close(sink.may)
	<-answered
	<-closed
}
