package cluster

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestWatchersSayThatTheyAreThere: the clients of these tests answer pings. Before, they were closed when a
// test took longer than two and a half minutes, which looked like a fault of the gateway. A second ping is
// sent only to a client that has answered the first.
func TestWatchersSayThatTheyAreThere(t *testing.T) {
	c := start(t, 1, settings{hub: hub.Options{
		SweepInterval: 10 * time.Millisecond, ActivityTimeout: 20 * time.Millisecond, PongTimeout: patience,
	}})
	a := c.set.apps[0]
	c.nodes[0].connect(t, a).awaitN("pusher:ping", "", 3)
	s := dialSocket(t, c.nodes[0], a, pusher.V1)
	defer s.close()
	eventually(t, "it was pinged three times", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pings >= 3
	})
}
