package socket

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// piped returns a socket over a pipe, and the other end of the pipe.
func piped(t *testing.T, w *Writer, kind *Kind) (*Socket, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = errors.Join(near.Close(), far.Close()) })
	return w.Open(near, kind), far
}

// TestTrust08TheSlowestGoFirst: sockets are closed by how much they hold and for how long.
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

// TestRooms04FramesLeaveInOrder: frames leave whole and in order, whether the peer reads meanwhile or not,
// and no bytes are held in the end.
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

// TestRooms04KindsOfSockets: each kind of sockets has its own bounds, last frame and form of frames.
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

// TestRooms04RefusedIsOfferedAgain: the owner keeps a refused frame, and CatchUp is called when the socket
// has taken everything.
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

// TestRooms04AnItemCountsOnce: a frame that waits in several queues counts once, and its bytes are released
// with the last.
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

// TestAnOutboxAgreesWithAPlainList: an outbox accepts, returns and wakes like a plain list, so that its
// bounds hold however much has passed through it.
func TestAnOutboxAgreesWithAPlainList(t *testing.T) {
	w := newGroup(1 << 20).NewWriter(&hand{})
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		kind := &Kind{Frames: 3 + rnd.IntN(10), Bytes: 64 + rnd.IntN(200), Last: last}
		s, _ := piped(t, w, kind)
		o := s.Outbox()
		var want []*Frame
		sum, dirty, lagging := 0, false, false
		for step := range 400 {
			f := NewFrame(make([]byte, 1+rnd.IntN(kind.Bytes/4)), 0)
			n := len(f.Bytes())
			full := len(want) > 0 && (len(want) >= kind.Frames || sum > kind.Bytes/littleShare && sum+n > kind.Bytes)
			switch rnd.IntN(4) {
			case 0, 1:
				expected := Wakes
				if dirty {
					expected = Queued
				}
				if full {
					expected = Refused
				}
				if got := o.Offer(f); got != expected {
					t.Fatalf("seed %d, step %d: %d bytes beside %d in %d frames are %d, want %d", seed, step, n, sum, len(want), got, expected)
				}
				if lagging = lagging || full; !full {
					want, sum, dirty = append(want, f), sum+n, true
				}
			case 2:
				most := 1 + rnd.IntN(kind.Bytes)
				o.mu.Lock()
				got, bytes := o.take(nil, most)
				o.mu.Unlock()
				taken := 0
				for i, f := range got {
					if i >= len(want) || f != want[i] {
						t.Fatalf("seed %d, step %d: frame %d is another one", seed, step, i)
					}
					taken += len(f.Bytes())
				}
				want, sum = want[len(got):], sum-taken
				if bytes != taken || taken > most && len(got) > 1 || len(want) > 0 && taken+len(want[0].Bytes()) <= most {
					t.Fatalf("seed %d, step %d: %d bytes in %d frames, said to be %d, of %d", seed, step, taken, len(got), bytes, most)
				}
			case 3:
				got, more := o.Take(nil)
				if !slices.Equal(got, want) || more != lagging {
					t.Fatalf("seed %d, step %d: %d frames and more: %t, want %d, %t", seed, step, len(got), more, len(want), lagging)
				}
				want, sum, dirty, lagging = nil, 0, false, false
			}
			if o.queued != sum || int(o.count) != len(want) {
				t.Fatalf("seed %d, step %d: %d bytes in %d frames, want %d in %d", seed, step, o.queued, o.count, sum, len(want))
			}
		}
		// A frame that does not fit ends the socket: only the last frame leaves, and nothing follows it.
		for got := Queued; got != Overflowed; {
			if got = o.Push(NewFrame(make([]byte, kind.Bytes), 0)); got != Queued && got != Wakes && got != Overflowed {
				t.Fatalf("seed %d: %d", seed, got)
			}
		}
		if got := o.Push(last); got != Dropped {
			t.Errorf("seed %d: a frame behind the last one is %d", seed, got)
		}
		if got, more := o.Take(nil); len(got) != 1 || got[0] != last || more || o.queued != 0 {
			t.Errorf("seed %d: %d frames and more: %t at the end, %d bytes", seed, len(got), more, o.queued)
		}
	}
}
