package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluicehq/sluice/test/fault"
)

// guest is a client that goes to the next gateway when its own asks it to.
type guest struct {
	at       int // the index of the gateway
	sessions []*peer
}

func (g *guest) now() *peer { return g.sessions[len(g.sessions)-1] }

// TestR16RollingRestart restarts three gateways one after the other while events are published through all of
// them. Clients are asked to leave, and connect to the next gateway at once. Acknowledged events are stored
// once. Each session of a client is a part of the log without a hole, the first session from the log's
// beginning and the last one to its end, and the history has the events in between.
func TestR16RollingRestart(t *testing.T) {
	fault.Seeds(t, 16, func(t *testing.T, rnd *rand.Rand) {
		c, a, watchers := faultCluster(t)
		l := startLoad(t, c, a, 4, 4)
		guests := make([]*guest, len(watchers))
		for i, w := range watchers {
			guests[i] = &guest{at: i, sessions: []*peer{w}}
		}
		for _, i := range rnd.Perm(3) {
			l.more(50 + rnd.IntN(50))
			c.nodes[i].close(t)
			next := (i + 1) % 3
			for k, g := range guests {
				if g.at != i {
					continue
				}
				if code := g.now().closed(); code != 4200 {
					t.Errorf("client %d was closed with %d", k, code)
				}
				w := c.nodes[next].connect(t, a)
				for _, channel := range l.channels {
					w.subscribe(channel, "")
				}
				g.at, g.sessions = next, append(g.sessions, w)
			}
			c.nodes[i] = c.join()
			c.nodes = c.nodes[:3]
			l.use(c)
		}
		l.more(50)
		logs := l.end(c, a)
		for k, g := range guests {
			for channel, log := range logs {
				eventually(t, fmt.Sprintf("the end of %s has come to client %d", channel, k), func() bool {
					got := g.now().all("load", channel)
					return len(got) > 0 && got[len(got)-1].str() == log[len(log)-1]
				})
				for n, w := range g.sessions {
					got := w.all("load", channel)
					from := 0
					if n > 0 && len(got) > 0 {
						from = slices.Index(log, got[0].str())
					}
					for at, m := range got {
						if from < 0 || from+at >= len(log) || m.str() != log[from+at] {
							t.Fatalf("client %d, session %d: event %d of %s is %s, and the log has something else there", k, n, at, channel, m.str())
						}
					}
				}
			}
		}
	})
}
