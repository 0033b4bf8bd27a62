package socket

import (
	"testing"
	"time"
)

// TestRun05LookAtWhatWaits: Look reports what waits and since when, only for the socket that owns the outbox.
func TestRun05LookAtWhatWaits(t *testing.T) {
	h := &hand{}
	w := newGroup(1 << 20).NewWriter(h)
	s, _ := piped(t, w, &Kind{Frames: 100, Bytes: 1 << 20, Last: last})
	if got := s.Look(); got != (Look{}) {
		t.Errorf("nothing waits: %+v", got)
	}
	begin := time.UnixMilli(1_700_000_000_000)
	s.Send(NewFrame(make([]byte, 10), 0))
	for _, age := range []time.Duration{time.Second, 3 * time.Second, 2 * time.Second} {
		s.Send(NewFrame(make([]byte, 100), 0).Of(begin.Add(-age)))
	}
	if got, want := s.Look(), (Look{Frames: 4, Events: 3, Bytes: 310, Oldest: begin.Add(-3 * time.Second).UnixMilli()}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.out.mu.Lock()
	s.out.block(50, begin.UnixNano())
	s.out.mu.Unlock()
	if got := s.Look(); got.Blocked != begin.UnixMilli() || got.Bytes != 360 {
		t.Errorf("blocked: %+v", got)
	}
	s.out.mu.Lock()
	s.out.hold(-50)
	s.out.mu.Unlock()
	s.End(nil)
	if got := s.Look(); !got.Leaving {
		t.Errorf("ending: %+v", got)
	}
	s.out.mu.Lock()
	s.out.sock = nil // as if another socket owned the record
	s.out.mu.Unlock()
	if got := s.Look(); got != (Look{Leaving: true}) {
		t.Errorf("another one's: %+v", got)
	}
	s.out.mu.Lock()
	s.out.sock = s
	s.out.clear()
	s.out.flags &^= blocked
	s.out.mu.Unlock()
}

// TestRun05FormsKnowTheirEvent: another form of a frame, and a copy, keep the time of its event.
func TestRun05FormsKnowTheirEvent(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	f := NewFrame([]byte("x"), 0).Of(at)
	if got := f.Other(func(*Frame) *Frame { return NewFrame([]byte("y"), 0) }); got.stored != at.UnixMilli() {
		t.Errorf("the other form is of %d", got.stored)
	}
	if got := NewFrame([]byte("z"), 0).As(f); got.stored != at.UnixMilli() {
		t.Errorf("the copy is of %d", got.stored)
	}
	if got := f.Other(func(f *Frame) *Frame { return f }); got.stored != at.UnixMilli() {
		t.Errorf("itself is of %d", got.stored)
	}
}
