package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/fault"
)

// TestR8SlowSocketsHurtOnlyThemselves has some sockets of three gateways stop reading while publishing goes
// on. They are closed with 4100; all others get the whole log, in order.
func TestR8SlowSocketsHurtOnlyThemselves(t *testing.T) {
	fault.Seeds(t, 8, func(t *testing.T, rnd *rand.Rand) {
		set := settings{}
		set.hub.QueueFrames, set.hub.QueueBytes, set.hub.SendBuffer = 256, 256<<10, 16<<10
		c := start(t, 3, set)
		a := c.set.apps[0]
		var watchers []*watcher
		var slow []*socket
		for _, n := range c.nodes {
			for range 2 {
				watchers = append(watchers, n.watch(t, a, "busy"))
			}
			for range 1 + rnd.IntN(3) {
				s := dialSocket(t, n, a, pusher.V1)
				t.Cleanup(func() {
					_ = s.conn.NetConn().Close()
					<-s.done
				})
				s.subscribed(t, "busy", "")
				slow = append(slow, s)
			}
		}
		for _, s := range slow {
			defer s.pause()()
		}
		const events = 1200
		filling := strings.Repeat("x", 3000+rnd.IntN(2000))
		for i := range events {
			_, err := c.nodes[i%3].log.Publish(t.Context(), a.ID, broker.Outgoing{Channel: "busy", Event: &broker.Event{
				Name: "e", Data: fmt.Appendf(nil, `{"n":%d,"x":%q}`, i, filling),
			}})
			if err != nil {
				t.Fatal(err)
			}
			if i%50 == 49 {
				// Sockets that read must not fall behind because the test uses their processor.
				await(t, "busy", i+1, watchers...)
			}
		}
		for i, w := range watchers {
			for k, e := range w.all("busy") {
				if !strings.HasPrefix(e.Data, fmt.Sprintf(`{"n":%d,`, k)) {
					t.Fatalf("socket %d: event %d is %.40s", i, k, e.Data)
				}
			}
			if n := len(w.all("busy")); n != events {
				t.Errorf("socket %d got %d events, want %d", i, n, events)
			}
		}
		closed := 0.0
		eventually(t, "all slow sockets are closed", func() bool {
			closed = 0
			for _, n := range c.nodes {
				closed += n.value("sockudo_slow_sockets_closed_total")
			}
			return int(closed) >= len(slow)
		})
		if int(closed) != len(slow) {
			t.Errorf("%v sockets were closed, %d were slow", closed, len(slow))
		}
	})
}
