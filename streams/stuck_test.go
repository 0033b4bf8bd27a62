package streams

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
)

// libraryWaits is about as long as the library would wait while it holds its lock.
const libraryWaits = 55 * time.Second

// prompt fails if do takes as long as the library would wait.
func prompt(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	late := time.NewTimer(libraryWaits)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		t.Errorf("%s waits for the library", what)
		<-done
	}
}

// TestTrust12AServerThatReadsNothing: a server that does not read blocks neither a publish, nor a request for
// the log's state, nor Close, for a minute; and everything goes on once it reads again.
func TestTrust12AServerThatReadsNothing(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprintf("it reads again %v", again), func(t *testing.T) {
			t.Parallel()
			_, opt := external(t)
			p, err := fault.NewProxy(strings.TrimPrefix(opt.URLs[0], "nats://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			opt.URLs, opt.PublishTimeout = []string{"nats://" + p.Addr()}, 3*time.Second
			opt.ConnectOptions = append(opt.ConnectOptions, nats.SetCustomDialer(narrow{}))
			l := open(t, opt)
			e := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(strings.Repeat("x", 60_000))}}
			if _, err := l.Publish(t.Context(), "app-1", e); err != nil {
				t.Fatal(err)
			}
			first := l.pub.carrier.Load()
			p.Set(fault.Stall)
			stop, end := context.WithCancel(t.Context())
			var publishers sync.WaitGroup
			for range 300 {
				publishers.Go(func() {
					for stop.Err() == nil {
						prompt(t, "publishing", func() { _, _ = l.Publish(context.Background(), "app-1", e) })
					}
				})
			}
			publishers.Go(func() {
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for ; stop.Err() == nil; <-tick.C {
					prompt(t, "asking for the state", func() { l.Health() })
				}
			})
			awaitTrue(t, "the connection is given up", func() bool { return l.pub.carrier.Load() != first })
			if again {
				p.Set(fault.Pass)
				awaitTrue(t, "the log is ready again", func() bool { return l.Health().Ready })
			}
			end()
			if !again {
				prompt(t, "closing", func() { _ = l.Close() })
			}
			publishers.Wait()
			if again {
				awaitTrue(t, "what is published is stored again", func() bool {
					_, err := l.Publish(t.Context(), "app-1", e)
					return err == nil
				})
			}
		})
	}
}

// narrow dials with a small write buffer.
type narrow struct{}

func (narrow) Dial(network, address string) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, time.Minute)
	if err == nil {
		_ = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

// piecewise is a connection that accepts takes[i] bytes of the ith piece, and the last number for all further
// ones.
type piecewise struct {
	net.Conn
	takes    []int
	wrote    []int // by piece
	until    time.Time
	limited  int
	closed   bool
	whenever func()
}

func (c *piecewise) Write(p []byte) (int, error) {
	c.whenever()
	if !c.until.IsZero() {
		c.limited++
	}
	takes := c.takes[min(len(c.wrote), len(c.takes)-1)]
	c.wrote = append(c.wrote, min(takes, len(p)))
	if takes < len(p) {
		return takes, &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}
	}
	return len(p), nil
}
func (c *piecewise) SetDeadline(t time.Time) error      { return c.SetWriteDeadline(t) }
func (c *piecewise) SetWriteDeadline(t time.Time) error { c.until = t; return nil }
func (c *piecewise) Close() error                       { c.closed = true; return nil }

// TestTrust12PiecesOfAWrite: each piece has its own deadline, whatever the library sets; nothing is written
// past the library between the pieces; and a connection that did not accept everything is closed, also one
// that accepted nothing.
func TestTrust12PiecesOfAWrite(t *testing.T) {
	const all = 3*writePiece + 7
	for _, c := range []struct {
		name   string
		size   int
		takes  []int
		wrote  int
		pieces int
	}{
		{"all at once", 100, []int{writePiece}, 100, 1},
		{"nothing", 100, []int{0}, 0, 1},
		{"a part", 100, []int{10}, 10, 1},
		{"several pieces", all, []int{writePiece}, all, 4},
		{"none of the second piece", all, []int{writePiece, 0}, writePiece, 2},
		{"a part of the last piece", all, []int{writePiece, writePiece, writePiece, 6}, all - 1, 4},
		{"nothing is asked for", 0, []int{0}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &piecewise{takes: c.takes}
			w := &carrier{Conn: conn, patience: writePatience}
			conn.whenever = func() {
				if w.mu.TryLock() {
					t.Error("others may write meanwhile")
					w.mu.Unlock()
				}
				if left := time.Until(conn.until); left > writePatience {
					t.Errorf("a piece may take %v", left)
				}
			}
			_ = w.SetWriteDeadline(time.Now().Add(time.Hour)) // as the library does
			n, err := w.Write(make([]byte, c.size))
			_ = w.SetWriteDeadline(time.Time{})
			if n != c.wrote || len(conn.wrote) != c.pieces || conn.limited != c.pieces || !conn.until.IsZero() {
				t.Errorf("wrote %d in %d pieces, %d of them with a time; %v is left", n, len(conn.wrote), conn.limited, conn.until)
			}
			if failed := n < c.size; failed != (err != nil) || failed != conn.closed || failed && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("closed %v after %v", conn.closed, err)
			}
		})
	}
}

// TestTrust12TheGreetingHasTheTimeOfConnecting: a write during the greeting does not extend the deadline of
// connecting.
func TestTrust12TheGreetingHasTheTimeOfConnecting(t *testing.T) {
	conn := &piecewise{takes: []int{writePiece}, whenever: func() {}}
	w := &carrier{Conn: conn, patience: writePatience}
	w.greeting.Store(true)
	until := time.Now().Add(time.Second)
	_ = w.SetDeadline(until)
	_ = w.SetWriteDeadline(time.Now().Add(time.Minute))
	if _, err := w.Write([]byte("CONNECT {}\r\n")); err != nil || !conn.until.Equal(until) {
		t.Errorf("it ends at %v in place of %v: %v", conn.until, until, err)
	}
	_ = w.SetWriteDeadline(time.Time{})
	if !conn.until.Equal(until) {
		t.Error("the time of connecting is gone")
	}
}
