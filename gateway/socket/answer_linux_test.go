//go:build linux

package socket

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// eachKind calls try with a socket without TLS and with one with TLS, its connection, and its peer.
func eachKind(t *testing.T, try func(what string, s *Socket, conn, peer net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for what, wrap := range map[string]func(net.Conn) *Socket{
		"a connection": func(c net.Conn) *Socket { return &Socket{conn: c} },
		"one with TLS": func(c net.Conn) *Socket { return &Socket{below: NewCarrier(c)} },
	} {
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		try(what, wrap(conn), conn, peer)
	}
}

// TestTime06APeerThatVanishes: the reader of an event stream sends nothing, so only its kernel shows that it
// is there. A peer that acknowledges nothing is given up after the expected time, with TLS and without, and
// not after the quarter of an hour for which a kernel tries.
func TestTime06APeerThatVanishes(t *testing.T) {
	eachKind(t, func(what string, s *Socket, conn, _ net.Conn) {
		s.ExpectAnswer(90 * time.Second)
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if ms, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout); err != nil || ms != 90_000 {
				t.Errorf("%s: the kernel waits for %d ms, %v", what, ms, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	(&Socket{conn: a}).ExpectAnswer(time.Second) // a pipe has no such option
}

// TestWhatNobodyHasRead: Unread reports bytes that have arrived and were not read, with TLS and without.
func TestWhatNobodyHasRead(t *testing.T) {
	eachKind(t, func(what string, s *Socket, conn, peer net.Conn) {
		if s.Unread() {
			t.Errorf("%s has something to read before anything was sent", what)
		}
		_, _ = peer.Write([]byte("x"))
		for !s.Unread() {
			runtime.Gosched()
		}
		if _, err := conn.Read(make([]byte, 8)); err != nil || s.Unread() {
			t.Errorf("%s has something to read after it was read, %v", what, err)
		}
		_ = peer.Close()
		_ = conn.Close()
		if s.Unread() {
			t.Errorf("%s has something to read after it was closed", what)
		}
	})
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if (&Socket{conn: a}).Unread() {
		t.Error("a pipe has something to read")
	}
}
