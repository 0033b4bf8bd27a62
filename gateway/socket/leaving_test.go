package socket

import (
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicehq/sluice/broker/rank"
)

func TestMain(m *testing.M) {
	rank.Check()
	goleak.VerifyTestMain(m)
}

// hand is a loop without a goroutine, whose steps the test takes.
type hand struct {
	mu      sync.Mutex
	dirtied []*Outbox
	// caught and forgotten are the outboxes for which CatchUp and Forget were called.
	caught, forgotten []*Outbox
	catchUp           func(*Outbox)
}

func (h *hand) Mark(o *Outbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dirtied = append(h.dirtied, o)
}

func (h *hand) CatchUp(o *Outbox) {
	h.caught = append(h.caught, o)
	if h.catchUp != nil {
		h.catchUp(o)
	}
}

func (h *hand) Forget(o *Outbox) { h.forgotten = append(h.forgotten, o) }

// marked returns the outboxes marked since the last call.
func (h *hand) marked() []*Outbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.dirtied
	h.dirtied = nil
	return all
}

// flush does what a loop does with its marked outboxes.
func (h *hand) flush(w *Writer) {
	for _, o := range h.marked() {
		w.Flush(o)
	}
}

// last is the frame sent to a socket that is given up.
var last = NewFrame([]byte("given up"), 0)

func newGroup(total int64) *Group {
	return NewGroup(Options{TotalBytes: total, SlowAge: 10 * time.Second, Linger: time.Second, Now: time.Now})
}

func frameOf(text string) *Frame { return NewFrame([]byte(text), 0) }

// leaving returns a socket whose peer reads nothing.
func leaving(t *testing.T) (*hand, *Writer, *Socket) {
	h := &hand{}
	w := newGroup(1 << 20).NewWriter(h)
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return h, w, w.Open(near, &Kind{Frames: 100, Bytes: 1 << 20, Last: last})
}

// duringWrite flushes an outbox and calls what during the write.
func duringWrite(w *Writer, s *Socket, what func()) {
	s.mu.Lock()
	done := make(chan struct{})
	o := s.out
	go func() {
		defer close(done)
		w.Flush(o)
	}()
	for taken := false; !taken; {
		o.mu.Lock()
		taken = o.count == 0
		o.mu.Unlock()
	}
	what()
	s.mu.Unlock()
	<-done
}

func (w *Writer) spare() int {
	w.slab.mu.Lock()
	defer w.slab.mu.Unlock()
	return len(w.free)
}

// TestTrust11LeavingDuringAWrite: a connection that ends while its last frame is written leaves no writer
// behind that uses its record.
func TestTrust11LeavingDuringAWrite(t *testing.T) {
	for _, more := range []bool{false, true} {
		h, w, s := leaving(t)
		s.Send(frameOf("over"))
		if more {
			s.out.mu.Lock()
			s.out.flags |= closing
			s.out.mu.Unlock()
		}
		h.marked()
		o := s.out
		duringWrite(w, s, func() {
			s.fd = -1
			s.Retire()
		})
		h.flush(w)
		w.group.Wait()
		if n := w.spare(); n != slabChunk {
			t.Errorf("the record was not given back: %d of %d are free", n, slabChunk)
		}
		if o.flags != 0 || o.sock != nil {
			t.Errorf("the record is given back with flags %b", o.flags)
		}
	}
}

// TestTrust11LeavingWhileAWriterWaits: a record in use by a writer is not given to another connection, even
// if it is marked once more.
func TestTrust11LeavingWhileAWriterWaits(t *testing.T) {
	h, w, s := leaving(t)
	s.Send(frameOf("over"))
	h.marked()
	duringWrite(w, s, func() { s.Send(frameOf("again")) })
	// The pipe takes nothing, so the writer waits.
	s.Retire()
	h.flush(w)
	if n := w.spare(); n != slabChunk-1 {
		t.Errorf("%d records are free while one is in use", n)
	}
	s.Close()
	w.group.Wait()
	h.flush(w)
	if n := w.spare(); n != slabChunk {
		t.Errorf("the record was not given back: %d of %d are free", n, slabChunk)
	}
}

// TestRooms04WhoIsGoneReachesNobody: a socket that has ended reaches no connection through its record, which
// another socket may have now.
func TestRooms04WhoIsGoneReachesNobody(t *testing.T) {
	h, w, gone := leaving(t)
	gone.Retire()
	h.flush(w)
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	heir := w.Open(near, gone.kind)
	if heir.Outbox() != gone.Outbox() {
		t.Fatal("the record was not used again")
	}
	if gone.Send(frameOf("late")) {
		t.Error("a socket that is gone takes a frame")
	}
	gone.End(frameOf("late"))
	gone.giveUp(ByTotal)
	if !gone.Gone() || heir.Gone() {
		t.Errorf("gone is %v for the one that left, %v for its heir", gone.Gone(), heir.Gone())
	}
	if frames, _ := heir.Outbox().Take(nil); len(frames) != 0 || heir.Outbox().flags != 0 {
		t.Errorf("the heir has %d frames and flags %b", len(frames), heir.Outbox().flags)
	}
}
