//go:build linux

package gateway

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestWeeksProxiesWhoHasConnectedIsServed closes a listener with connections in its backlog. Before, nginx
// answered 502 for a publish at the moment a gateway stopped.
func TestWeeksProxiesWhoHasConnectedIsServed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lastCalls{Listener: inner}
	const waiting = 3
	for range waiting {
		// It is connected, although no goroutine accepts it.
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range waiting {
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		buf := make([]byte, 5)
		if _, err := conn.Read(buf); err != nil || string(buf) != "hello" {
			t.Errorf("connection %d said %q, %v", i, buf, err)
		}
		_ = conn.Close()
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("then it accepts with %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it can still be connected to")
	}
	if err := l.Close(); err == nil {
		t.Error("it is closed twice")
	}
}

// TestWeeksProxiesNewcomersAreHeard: a server that shuts down waits for the first request of new connections,
// and only a moment for silent ones.
func TestWeeksProxiesNewcomersAreHeard(t *testing.T) {
	for name, c := range map[string]struct {
		speaks bool
		took   time.Duration
	}{"one who speaks": {true, 100 * time.Millisecond}, "one who says nothing": {false, newcomersWait}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &newcomers{open: map[net.Conn]struct{}{}}
				early, late := &net.TCPConn{}, &net.TCPConn{}
				n.state(early, http.StateNew)
				n.state(late, http.StateNew)
				n.state(early, http.StateClosed)
				if c.speaks {
					time.AfterFunc(c.took, func() { n.state(late, http.StateActive) })
				}
				began := time.Now()
				n.heard(t.Context(), time.Hour)
				if took := time.Since(began); took != c.took {
					t.Errorf("it waited for %v, want %v", took, c.took)
				}
				n.state(late, http.StateClosed)
				n.heard(t.Context(), time.Hour)
				if took := time.Since(began); took != c.took {
					t.Errorf("with nobody there it waited")
				}
			})
		})
	}
}
