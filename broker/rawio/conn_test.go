package rawio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection and its other end, which is a plain one.
func pair(t *testing.T) (net.Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(a.Close(), b.Close()) })
	c := New(a)
	if _, ok := c.(*Conn); ok != (runtime.GOOS == "linux") {
		t.Fatalf("got a %T", c)
	}
	return c, b.(*net.TCPConn)
}

// What is written arrives whole and in order, also where the kernel takes only a part at a time.
func TestBothWays(t *testing.T) {
	c, peer := pair(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	var group sync.WaitGroup
	defer group.Wait()
	for _, way := range []struct{ from, to net.Conn }{{c, peer}, {peer, c}} {
		group.Go(func() {
			if n, err := way.from.Write(text); n != len(text) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
		})
		group.Go(func() {
			got := make([]byte, len(text))
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, text) {
				t.Errorf("got other bytes: %v", err)
			}
		})
	}
}

// Many who write at the same time do not mix.
func TestWritesAreWhole(t *testing.T) {
	c, peer := pair(t)
	const writers, size = 8, 1 << 20
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			if _, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				t.Error(err)
			}
		})
	}
	got := make([]byte, size)
	for range writers {
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, bytes.Repeat(got[:1], size)) {
			t.Fatal("two writes have mixed")
		}
	}
	group.Wait()
}

// The ends of connections and deadlines are told as the library tells them.
func TestEnds(t *testing.T) {
	late := func(err error) bool {
		var n net.Error
		return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &n) && n.Timeout()
	}
	full := func(c net.Conn) error {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	for _, c := range []struct {
		name string
		do   func(c net.Conn, peer *net.TCPConn) error
		want func(error) bool
	}{
		{"the peer has no more to say", func(c net.Conn, peer *net.TCPConn) error {
			_ = peer.CloseWrite()
			_, err := c.Read(make([]byte, 1))
			return err
		}, func(err error) bool { return err == io.EOF }},
		{"reading what is closed", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		}, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"writing what is closed", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.Close()
			_, err := c.Write([]byte("x"))
			return err
		}, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"closing while somebody reads", func(c net.Conn, _ *net.TCPConn) error {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
			_, err := c.Read(make([]byte, 1))
			return err
		}, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"closing while somebody writes", func(c net.Conn, _ *net.TCPConn) error {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
			return full(c)
		}, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"a reset", func(c net.Conn, peer *net.TCPConn) error {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		}, func(err error) bool { return err != nil && err != io.EOF }},
		{"late to read", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err
		}, late},
		{"late to write", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			return full(c)
		}, late},
		{"too late to write at all", func(c net.Conn, _ *net.TCPConn) error {
			_ = c.SetDeadline(time.Unix(1, 0))
			_, err := c.Write([]byte("x"))
			return err
		}, late},
		{"a deadline while somebody writes", func(c net.Conn, _ *net.TCPConn) error {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
			return full(c)
		}, late},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, peer := pair(t)
			if err := c.do(conn, peer); !c.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A deadline that was met is no longer one when it is taken back.
func TestDeadlineTakenBack(t *testing.T) {
	c, peer := pair(t)
	_ = c.SetWriteDeadline(time.Unix(1, 0))
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	_ = c.SetWriteDeadline(time.Time{})
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	if _, err := c.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// What is no TCP connection stays what it is.
func TestOthers(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	if New(a) != a {
		t.Error("a pipe has become something else")
	}
}

// TestWayIn04TheDeadlineOfWhoWaitsStays: a try that waits for room takes nobody's deadline away as it
// ends.
func TestWayIn04TheDeadlineOfWhoWaitsStays(t *testing.T) {
	conn, _ := pair(t)
	c, ok := conn.(*Conn)
	if !ok {
		t.Skip("nothing is tried on this system")
	}
	tried := make(chan error, 1)
	go func() {
		_, err := c.TryWrite(make([]byte, 64<<20), time.Minute)
		tried <- err
	}()
	for waits := false; !waits; {
		<-time.After(time.Millisecond)
		c.mu.Lock()
		waits = c.told
		c.mu.Unlock()
	}
	_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if err := <-tried; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the try ended with %v", err)
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 64<<20))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the deadline is gone")
		_ = c.Close()
		<-wrote
	}
}
