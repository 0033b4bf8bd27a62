package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/fault"
)

// switchboard forwards connections to one server at a time, as a load balancer does.
type switchboard struct {
	net.Listener
	to      atomic.Pointer[string]
	running sync.WaitGroup
}

func newSwitchboard(t *testing.T, to string) *switchboard {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &switchboard{Listener: l}
	s.to.Store(&to)
	s.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", *s.to.Load())
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				s.running.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return s
}

// TestWS26AfterADrainPusherIsBackAtOnce stops the gateway of a pusher-js client. The load balancer has
// another gateway, and the client connects to that at once.
func TestWS26AfterADrainPusherIsBackAtOnce(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	one, two := serve(t, first, config(first)), serve(t, second, config(second))
	board := newSwitchboard(t, one.HTTP)
	host, port, _ := strings.Cut(board.Addr().String(), ":")
	client := script(t, "reconnect.mjs", host, port)
	until := func(want string) (passed []string) {
		for {
			var s struct{ State string }
			client.line(&s)
			if s.State == want {
				return passed
			}
			passed = append(passed, s.State)
		}
	}
	until("connected")
	board.to.Store(&two.HTTP)
	_ = one.cmd.Process.Signal(syscall.SIGTERM)
	if passed := until("connected"); len(passed) == 0 || passed[0] != "again in 0" {
		t.Errorf("pusher-js did not connect again at once, but %q", passed)
	}
}

// TestWS26AfterARestartPusherIsBackSoon restarts the only gateway of a pusher-js client. The client
// reconnects at once when it is closed with 4200. If the port is closed by then, pusher-js waits for its
// strategy, 15 seconds; so the stopping gateway accepts the client and tells it to reconnect after one
// second. Here the gateway lingers until the client has come, however long that takes on a busy machine,
// where `sluice serve` lingers for a second.
func TestWS26AfterARestartPusherIsBackSoon(t *testing.T) {
	t.Parallel()
	port := fmt.Sprint(fault.Ports(t, 1)[0])
	stop := staysFor(t, port, 2*patience)
	client := script(t, "reconnect.mjs", "127.0.0.1", port)
	next := func() string {
		var at struct{ State string }
		client.line(&at)
		return at.State
	}
	for next() != "connected" {
	}
	stop()
	staysFor(t, port, 0)
	var passed []string
	for state := next(); state != "connected"; state = next() {
		passed = append(passed, state)
	}
	want := []string{"again in 0", "told 4100"} // how soon the next gateway is there does not matter
	for _, state := range passed {
		if len(want) > 0 && state == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("on its way pusher-js was %q, but not %q", passed, want)
	}
}

// staysFor runs a gateway that lingers for its clients when it is stopped. The returned function stops it.
func staysFor(t *testing.T, port string, linger time.Duration) (stop func()) {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	node, err := gateway.New(gateway.Options{
		Apps: app.NewRegistry(&app.App{ID: "app", Key: "app-key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}),
		Log:  log, Listen: "127.0.0.1:" + port, Drain: 2 * patience, Linger: linger,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- node.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}
