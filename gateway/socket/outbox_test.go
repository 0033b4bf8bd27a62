package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// piped is a socket over a pipe, of which the test has the other end.
func piped(t *testing.T, w *Writer, kind *Kind) (*Socket, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = errors.Join(near.Close(), far.Close()) })
	return w.Open(near, kind), far
}

// TestTrust08TheSlowestGoFirst weighs sockets by what they hold and for how long.
func TestTrust08TheSlowestGoFirst(t *testing.T) {
	h := &hand{}
	g := newGroup(1000 << 10)
	w := g.NewWriter(h)
	begin := time.Unix(1_700_000_000, 0)
	add := func(kilobytes int, age time.Duration) *Socket {
		s, _ := piped(t, w, &Kind{Frames: 1 << 20, Bytes: 1 << 30, Last: last})
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		s.out.block(0, begin.Add(-age).UnixNano())
		s.out.add(NewFrame(make([]byte, kilobytes<<10), 0))
		return s
	}
	sockets := map[string]*Socket{
		"a burst": add(400, 20*time.Millisecond), "always a little late": add(1, time.Minute),
		"reads nothing": add(300, 10*time.Second), "reads nothing since lately": add(290, 4*time.Second),
	}
	g.makeRoom(begin)
	for name, s := range sockets {
		if gone := s.out.flags&closing != 0; gone != (name == "reads nothing") {
			t.Errorf("%s: gone is %v", name, gone)
		}
	}
	if got := g.Closed(ByTotal); got != 1 {
		t.Errorf("%d were closed, want 1", got)
	}
}

// Frames leave in order and whole, whether the peer reads them or not meanwhile, and nothing
// is held in the end.
func TestRooms04FramesLeaveInOrder(t *testing.T) {
	h := &hand{}
	g := newGroup(1 << 20)
	w := g.NewWriter(h)
	s, far := piped(t, w, &Kind{Frames: 1000, Bytes: 1 << 20, Last: last})
	var want bytes.Buffer
	for i := range 100 {
		text := strings.Repeat(string(rune('a'+i%26)), i+1)
		want.WriteString(text)
		if !s.Send(frameOf(text)) {
			t.Fatal("a frame was not taken")
		}
		if i%7 == 0 {
			h.flush(w)
		}
	}
	s.End(frameOf("end"))
	want.WriteString("end")
	h.flush(w)
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the peer got %q: %v", got, err)
	}
	g.Wait()
	if n := g.Budget().Bytes(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
	if st := w.Stats(); st.Blocked != 1 || st.Overflowed != 0 {
		t.Errorf("stats are %+v", st)
	}
}

// Each kind has bounds and a last frame of its own, and a form of frames.
func TestRooms04KindsOfSockets(t *testing.T) {
	h := &hand{}
	g := newGroup(1 << 20)
	w := g.NewWriter(h)
	louder := func(f *Frame) *Frame {
		return f.Other(func(f *Frame) *Frame { return frameOf(strings.ToUpper(string(f.Bytes()))) })
	}
	f := frameOf("text")
	for _, c := range []struct {
		name string
		kind *Kind
		want []string
	}{
		{"plain", &Kind{Frames: 2, Bytes: 100, Last: frameOf("bye")}, []string{"text", "text"}},
		{"another form", &Kind{Frames: 2, Bytes: 100, Last: frameOf("bye"), Form: louder}, []string{"TEXT", "TEXT"}},
		{"too many frames", &Kind{Frames: 1, Bytes: 100, Last: frameOf("bye")}, []string{"bye"}},
		{"too many bytes", &Kind{Frames: 2, Bytes: 5, Last: frameOf("adieu")}, []string{"adieu"}},
	} {
		s, _ := piped(t, w, c.kind)
		s.Outbox().Push(f)
		s.Outbox().Push(f)
		var got []string
		frames, _ := s.Outbox().Take(nil)
		for _, f := range frames {
			got = append(got, string(f.Bytes()))
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if f.Other(nil) == nil || string(f.Other(nil).Bytes()) != "TEXT" {
		t.Error("the other form was not kept")
	}
	if got := g.Closed(ByQueue); got != 2 {
		t.Errorf("%d were closed, want 2", got)
	}
}

// Who offers keeps what is refused, and is asked again when the socket has taken everything.
func TestRooms04RefusedIsOfferedAgain(t *testing.T) {
	h := &hand{}
	g := newGroup(1 << 20)
	w := g.NewWriter(h)
	s, far := piped(t, w, &Kind{Frames: 1, Bytes: 100, Last: last})
	o := s.Outbox()
	h.catchUp = func(o *Outbox) { o.Offer(frameOf("two")) }
	if got := o.Offer(frameOf("one")); got != Wakes {
		t.Fatalf("the first is %d", got)
	}
	if got := o.Offer(frameOf("two")); got != Refused {
		t.Fatalf("the second is %d", got)
	}
	w.Flush(o)
	read := make([]byte, 6)
	if _, err := io.ReadFull(far, read[:3]); err != nil {
		t.Fatal(err)
	}
	g.Wait()
	h.flush(w)
	if _, err := io.ReadFull(far, read[3:]); err != nil || string(read) != "onetwo" {
		t.Errorf("the peer got %q: %v", read, err)
	}
	g.Wait()
	if len(h.caught) != 1 {
		t.Errorf("it caught up %d times", len(h.caught))
	}
}

// A frame that several wait for counts once, and is gone with the last one.
func TestRooms04AnItemCountsOnce(t *testing.T) {
	b := &newGroup(1 << 20).budget
	f := NewFrame(make([]byte, 1000), 0)
	b.HoldFrame(f)
	one := b.Bytes()
	b.HoldFrame(f)
	if two := b.Bytes(); two-one != slotRoom || one < 1000 {
		t.Errorf("one waits: %d bytes, two wait: %d", one, two)
	}
	b.ReleaseFrame(f)
	b.ReleaseFrame(f)
	if n := b.Bytes(); n != 0 {
		t.Errorf("nobody waits and %d bytes are held", n)
	}
}
