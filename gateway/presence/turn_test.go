package presence

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/kv"
)

// slowSink says when it is called, and returns when it may.
type slowSink struct{ called, may chan struct{} }

func (s slowSink) Changed(uint64, []Change) {
	s.called <- struct{}{}
	<-s.may
}

// TestRooms07ASinkThatWaitsHoldsNobodyUp: what a room tells may have to wait for a queue.
// Whoever asks the room meanwhile is answered, and has the locks that he holds for no longer.
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
