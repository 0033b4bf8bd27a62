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

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
)

// soon is far below the minute for which the library would wait with its lock held.
const soon = 30 * time.Second

// TestTrust12AServerThatReadsNothing holds neither who publishes, for longer than his time, nor who asks for
// the state of the log, nor who closes it; and all goes on once it reads again.
func TestTrust12AServerThatReadsNothing(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprintf("it reads again %v", again), func(t *testing.T) {
			_, opt := external(t)
			p, err := fault.NewProxy(strings.TrimPrefix(opt.URLs[0], "nats://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			opt.URLs, opt.PublishTimeout = []string{"nats://" + p.Addr()}, 3*time.Second
			l := open(t, opt)
			e := broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(strings.Repeat("x", 10_000))}}
			if _, err := l.Publish(t.Context(), "app-1", e); err != nil {
				t.Fatal(err)
			}
			p.Set(fault.Stall)
			stop, end := context.WithTimeout(t.Context(), time.Minute)
			defer end()
			var publishers sync.WaitGroup
			defer publishers.Wait()
			line := l.pub.line.Load()
			for tick := time.NewTicker(time.Millisecond); line.full.Load() == nil; <-tick.C {
				if stop.Err() != nil {
					t.Fatal("all was written that nobody read")
				}
				for range 20 {
					publishers.Go(func() { prompt(t, "publishing", func() { _, _ = l.Publish(context.Background(), "app-1", e) }) })
				}
			}
			prompt(t, "asking for the state", func() { l.Health() })
			if !again {
				prompt(t, "closing", func() { _ = l.Close() })
				return
			}
			awaitTrue(t, "the connection is given up", line.closed.Load)
			prompt(t, "asking for the state without a connection", func() {
				for range 100 {
					l.Health()
				}
			})
			p.Set(fault.Pass)
			awaitTrue(t, "the log is ready again", func() bool { return l.Health().Ready })
			awaitTrue(t, "what is published is stored again", func() bool {
				_, err := l.Publish(t.Context(), "app-1", e)
				return err == nil
			})
		})
	}
}

// prompt fails if something takes as long as the library would wait.
func prompt(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(soon):
		t.Errorf("%s waits for the library", what)
		<-done
	}
}

// glimpse is what a write finds that waits for a while: what it could write, and what is still to be sent.
type glimpse struct{ wrote, unsent int }

// slow is a connection on which writes wait. Its last glimpse stays.
type slow struct {
	net.Conn
	glimpses []glimpse
	closed   bool
}

func (s *slow) Write(p []byte) (int, error) {
	if len(s.glimpses) > 1 {
		s.glimpses = s.glimpses[1:]
	}
	if n := s.glimpses[0].wrote; n < len(p) {
		return n, &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}
	}
	return len(p), nil
}
func (s *slow) Unsent() int                      { return s.glimpses[0].unsent }
func (s *slow) SetWriteDeadline(time.Time) error { return nil }
func (s *slow) Close() error                     { s.closed = true; return nil }

// TestTrust12ASlowLineIsNoDeadOne: a write waits as long as anything moves, be it a byte at a time or only what was
// written before, and ends the connection once nothing does.
func TestTrust12ASlowLineIsNoDeadOne(t *testing.T) {
	still := func(n, unsent int) []glimpse {
		var out []glimpse
		for range n {
			out = append(out, glimpse{0, unsent})
		}
		return out
	}
	const patience = 10
	var bytewise, draining []glimpse
	for i := range 20 {
		bytewise = append(append(bytewise, still(patience-1, 1000)...), glimpse{1, 1000})
		draining = append(draining, still(patience-1, 1000-i)...)
	}
	for name, c := range map[string]struct {
		glimpses []glimpse
		want     int
	}{
		"room at once":               {[]glimpse{{100, 0}}, 100},
		"a byte at a time":           {append(bytewise, glimpse{100, 0}), 100},
		"what was written is taken":  {append(draining, glimpse{100, 0}), 100},
		"nothing at all":             {still(patience+1, 1000), 0},
		"nothing any more":           {append([]glimpse{{0, 0}, {7, 1000}}, still(patience+1, 1000)...), 7},
		"what was written, for once": {append([]glimpse{{0, 1000}, {0, 999}}, still(patience+1, 999)...), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slow{glimpses: append([]glimpse{{0, 1000}}, c.glimpses...)}
			w := &carrier{Conn: s, glances: patience}
			n, err := w.Write(make([]byte, 100))
			if n != c.want || (err == nil) != (n == 100) || err != nil && !errors.Is(err, errStill) {
				t.Errorf("wrote %d, want %d: %v", n, c.want, err)
			}
			if s.closed != (err != nil) || w.closed.Load() != s.closed || w.full.Load() != nil {
				t.Errorf("closed %v after %v", s.closed, err)
			}
		})
	}
}

// TestTrust12WhoPublishesWaitsOutside the library for a connection that takes nothing, and only for his own time.
func TestTrust12WhoPublishesWaitsOutside(t *testing.T) {
	k := newLink(&Log{}, "publish")
	k.now.Store(&connection{})
	w := k.newCarrier(&slow{}, 1)
	if err := k.pass(t.Context()); err == nil {
		t.Error("passed while the library connects")
	}
	k.established()
	full := make(chan struct{})
	w.full.Store(&full)
	over, end := context.WithCancel(t.Context())
	end()
	if err := k.pass(over); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !k.connected() || k.flows() {
		t.Error("a connection that takes nothing is there, and does not flow")
	}
	passed := make(chan error, 1)
	go func() { passed <- k.pass(t.Context()) }()
	w.full.Store(nil)
	close(full)
	if err := <-passed; err != nil || !k.flows() {
		t.Errorf("got %v after there was room", err)
	}
	_ = w.Close()
	if err := k.pass(t.Context()); err == nil || k.connected() {
		t.Errorf("got %v without a connection", err)
	}
}
