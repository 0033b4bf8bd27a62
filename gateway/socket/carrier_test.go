package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/certs/certstest"
)

const patience = 2 * time.Minute

// securePair returns a socket over TLS on a connection with small buffers, and its peer.
func securePair(t *testing.T, kind *Kind, version uint16) (*hand, *Writer, *Socket, *tls.Conn) {
	t.Helper()
	a := certstest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client := a.Client("localhost")
	client.MaxVersion = version
	far := make(chan *tls.Conn, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			t.Error(err)
		}
		far <- c
	}()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).SetWriteBuffer(16 << 10)
	config := a.TLS()
	config.DynamicRecordSizingDisabled = true
	near := Secure(raw, config)
	if err := near.Handshake(); err != nil {
		t.Fatal(err)
	}
	peer := <-far
	if peer == nil {
		t.FailNow()
	}
	h := &hand{}
	group := newGroup(64 << 20)
	group.opt.Linger = patience // the peer may be slow to read the last bytes
	w := group.NewWriter(h)
	s := w.Open(near, kind)
	t.Cleanup(func() {
		s.Close()
		_ = peer.Close()
		w.group.Wait()
	})
	return h, w, s, peer
}

// until flushes the marked outboxes until holds reports true. It sleeps in between: with a loop that only
// yields, the runtime polls the network only every ten milliseconds.
func (h *hand) until(t *testing.T, w *Writer, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); <-time.After(50 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to pass that %s", what)
		}
		h.flush(w)
	}
}

// TestRun01FramesLeaveInOrderOverTLS: the peer begins to read when the socket takes no more. Shared frames
// are unchanged, and everything arrives in order, followed by close_notify.
func TestRun01FramesLeaveInOrderOverTLS(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			h, w, s, peer := securePair(t, &Kind{Frames: 1 << 12, Bytes: 64 << 20, Last: last}, version)
			frames := make([]*Frame, 16)
			var want bytes.Buffer
			for i := range frames {
				frames[i] = frameOf(strings.Repeat(string(rune('a'+i)), 1<<uint(i)))
			}
			send := func(n int) {
				for i := range n {
					f := frames[i%len(frames)]
					want.Write(f.Bytes())
					if !s.Send(f) {
						t.Fatal("the socket takes no more")
					}
					if i%7 == 0 {
						h.flush(w)
					}
				}
			}
			send(1000)
			h.flush(w)
			if w.Stats().Blocked == 0 {
				t.Fatal("the peer takes everything without reading")
			}
			got := make(chan []byte, 1)
			go func() {
				text, err := io.ReadAll(peer)
				if err != nil {
					t.Errorf("the connection ends with %v, want the farewell of TLS", err)
				}
				got <- text
			}()
			// It catches up, and is blocked again.
			h.until(t, w, "the peer has caught up", func() bool { f, _ := w.Queued(); return f == 0 })
			send(500)
			s.End(frameOf("the end"))
			want.WriteString("the end")
			var text []byte
			h.until(t, w, "the peer has read everything", func() bool {
				select {
				case text = <-got:
					return true
				default:
					return false
				}
			})
			if !bytes.Equal(text, want.Bytes()) {
				t.Errorf("%d bytes arrived, want %d, or they differ", len(text), want.Len())
			}
			for i, f := range frames {
				if string(f.Bytes()) != strings.Repeat(string(rune('a'+i)), 1<<uint(i)) {
					t.Errorf("the shared bytes of frame %d have changed", i)
				}
			}
		})
	}
}

// TestRun01TheFarewellWaitsForRoom ends a connection while the kernel takes nothing: once the peer reads,
// everything that was sent arrives, followed by close_notify.
func TestRun01TheFarewellWaitsForRoom(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			_, _, s, peer := securePair(t, &Kind{Frames: 1 << 12, Bytes: 64 << 20, Last: last}, version)
			p, sent := make([]byte, 64<<10), 0
			for err := error(nil); err == nil; sent += len(p) {
				if _, err = s.tryWrite(p); err != nil && err != errWouldBlock {
					t.Fatal(err)
				}
			}
			s.finish()
			_ = peer.SetReadDeadline(time.Now().Add(patience))
			if text, err := io.ReadAll(peer); err != nil || len(text) != sent {
				t.Errorf("%d bytes arrived and %v, want %d and the farewell", len(text), err, sent)
			}
		})
	}
}

// TestRun01AShardNeverWaitsForTLS: a flush to a peer that reads nothing returns, and the waiting bytes are
// bounded and counted.
func TestRun01AShardNeverWaitsForTLS(t *testing.T) {
	h, w, s, _ := securePair(t, &Kind{Frames: 1 << 12, Bytes: 1 << 20, Last: last}, 0)
	f := frameOf(strings.Repeat("x", 64<<10))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			if !s.Send(f) {
				return
			}
			h.flush(w)
		}
		t.Error("the socket took what nobody reads")
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the shard waits")
	}
	if held := w.group.budget.Bytes(); held > 2<<20 {
		t.Errorf("one socket holds %d bytes, its bound is 1 MiB", held)
	}
	if n := s.below.waiting(); n > 70<<10 {
		t.Errorf("%d bytes wait below TLS", n)
	}
}

// TestRun01APeerThatWantsNewKeysIsBounded: the peer reads nothing and makes the TLS layer answer again and
// again. The bytes of these answers are bounded.
func TestRun01APeerThatWantsNewKeysIsBounded(t *testing.T) {
	c := &Carrier{taken: true, fd: -1, limit: ownTalk}
	var err error
	n := 0
	for ; err == nil && n < 1<<20; n += 32 {
		_, err = c.Write(make([]byte, 32))
	}
	if !errors.Is(err, errPending) || n > ownTalk+64 {
		t.Errorf("%d bytes wait, then %v", n, err)
	}
}

// TestRun01AClosedSocketIsNotWrittenTo closes a socket while bytes wait.
func TestRun01AClosedSocketIsNotWrittenTo(t *testing.T) {
	h, w, s, _ := securePair(t, &Kind{Frames: 1 << 12, Bytes: 1 << 20, Last: last}, 0)
	for s.Send(frameOf(strings.Repeat("x", 64<<10))) {
		h.flush(w)
		if w.Stats().Blocked > 0 {
			break
		}
	}
	s.Close()
	if _, err := s.tryWrite([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing ends with %v", err)
	}
	h.until(t, w, "writing has failed", func() bool {
		s.Send(frameOf("x")) // earlier bytes may have gone out before the close
		return s.Gone()
	})
	s.Retire()
	h.until(t, w, "its record is free", func() bool { return len(h.forgotten) == 1 })
}
