package redis

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/kv"
	"github.com/sluicehq/sluice/test/redisserver"
)

// losses counts how often a watcher was told that it may have missed something.
type losses struct{ atomic.Int64 }

func (*losses) Changed(kv.Record) {}
func (l *losses) Lost()           { l.Add(1) }

// TestANewRoomComparesNothingElse: before, each topic of the table that was watched for the first time had
// all channels compared with the log and all rooms listed anew, as after the loss of a server.
func TestANewRoomComparesNothingElse(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]bool{"single": false, "cluster": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var first *redisserver.Server
			url := ""
			if cluster {
				url = redisserver.StartCluster(t).URL()
			} else {
				first = redisserver.Start(t)
				url = first.URL()
			}
			l := open(t, url, cluster, silent)
			table, err := l.OpenTable(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			attachTo(t, l, "c")
			publishOne(t, l, "c", "x")
			scans := l.Stats().Scans
			var rooms [6]losses
			for i := range rooms {
				stop, err := table.Watch(fmt.Sprintf("seat.a.r%d.>", i), &rooms[i])
				if err != nil {
					t.Fatal(err)
				}
				defer stop()
				// Subscriptions are processed in turn: the previous room's is done by then.
				until(t, "the room is told", func() bool { return rooms[i].Load() > 0 })
			}
			if doubt := l.doubt.Load(); doubt || l.Stats().Scans != scans {
				t.Errorf("new rooms began %d scans, want none", l.Stats().Scans-scans)
			}
			for i := range rooms {
				if n := rooms[i].Load(); n != 1 {
					t.Errorf("room %d was told %d times of losses, want once", i, n)
				}
			}
			if cluster {
				return
			}
			first.Do("CLIENT KILL TYPE pubsub")
			until(t, "all are told of a connection that broke", func() bool {
				for i := range rooms {
					if rooms[i].Load() < 2 {
						return false
					}
				}
				return l.Stats().Scans > scans
			})
		})
	}
}
