package e2e

import (
	"strings"
	"syscall"
	"testing"
)

// limitedApp returns the configuration of an app with a connection limit that the test's clients reach.
func limitedApp(limit string) string {
	return `apps:
  - {id: "4711", key: app-key, secret: app-secret, max_connections: ` + limit + `}
presence: {lease: 3}
`
}

// states follows the connection states of a reconnect.mjs client.
type states struct{ *node }

func (s states) until(want string) {
	s.t.Helper()
	for {
		var at struct{ State string }
		s.line(&at)
		switch at.State {
		case want:
			return
		case "disconnected", "failed":
			s.t.Fatalf("pusher-js has stopped for good (%s)", at.State)
		}
	}
}

// TestWS06AfterACrashEverybodyIsBack: pusher-js stops for good when it is told that an app has too many
// connections. Connections of a gateway that was killed or is leaving must not count.
func TestWS06AfterACrashEverybodyIsBack(t *testing.T) {
	t.Parallel()
	connect := func(t *testing.T, b *switchboard) states {
		host, port, _ := strings.Cut(b.Addr().String(), ":")
		s := states{script(t, "reconnect.mjs", host, port)}
		s.until("connected")
		return s
	}
	t.Run("one gateway that is killed and started again", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		one := serve(t, dir, config(dir, limitedApp("3")))
		board := newSwitchboard(t, one.HTTP)
		clients := []states{connect(t, board), connect(t, board)}
		one.kill()
		again := serve(t, dir, config(dir, limitedApp("3")))
		board.to.Store(&again.HTTP)
		for _, c := range clients {
			c.until("connected")
		}
	})
	for name, signal := range map[string]syscall.Signal{"two gateways of which one is killed": syscall.SIGKILL, "two gateways of which one is stopped": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			yaml := gatewayOn(natsNode(t)) + limitedApp("3")
			one, two := serve(t, t.TempDir(), yaml), serve(t, t.TempDir(), yaml)
			board := newSwitchboard(t, two.HTTP)
			connect(t, board) // a client on the gateway that stays
			board.to.Store(&one.HTTP)
			clients := []states{connect(t, board), connect(t, board)}
			board.to.Store(&two.HTTP)
			_ = one.cmd.Process.Signal(signal)
			for _, c := range clients {
				c.until("connected")
			}
			// WS-06 holds among the live connections: one client more is refused for good.
			host, port, _ := strings.Cut(board.Addr().String(), ":")
			more := script(t, "reconnect.mjs", host, port)
			for {
				var at struct{ State string }
				if more.line(&at); at.State == "disconnected" || at.State == "failed" {
					break
				}
				if at.State == "connected" {
					t.Fatal("one more than the limit was let in")
				}
			}
		})
	}
}
