package redis

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/test/fault"
	"github.com/sluicehq/sluice/test/redisserver"
)

// onCluster follows channels of all masters through two gateways and publishes through both.
type onCluster struct {
	logs     [2]*Log
	channels []string
	sinks    map[string][2]*witness
	load     *storm
}

func loadCluster(t *testing.T, cluster *redisserver.Cluster, timeout time.Duration) *onCluster {
	o := &onCluster{sinks: map[string][2]*witness{}}
	for i := range 9 {
		o.channels = append(o.channels, fmt.Sprintf("c%d", i))
	}
	for i := range o.logs {
		o.logs[i] = open(t, cluster.URL(), true, func(opt *Options) {
			opt.Apps[0].MaxMessages, opt.PublishTimeout = 1_000_000, timeout
		})
	}
	for _, c := range o.channels {
		pair := [2]*witness{{}, {}}
		for i, l := range o.logs {
			at, err := l.Attach(t.Context(), "app-1", c, pair[i])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(at.Detach)
		}
		o.sinks[c] = pair
	}
	// There are several publishers, because each waits for a channel that cannot be written to.
	o.load = publishThrough(t, o.channels, o.logs[0], o.logs[1], o.logs[0], o.logs[1])
	return o
}

func (o *onCluster) slot(channel string) int {
	return int(slotOf(o.logs[0].keys.channel("app-1", channel).live))
}

// more waits until n more events are acknowledged.
func (o *onCluster) more(t *testing.T, n int) {
	t.Helper()
	had := o.load.count()
	until(t, "publishing goes on", func() bool { return o.load.count() >= had+n })
}

// settled waits until both gateways have the last event of each channel, and then compares.
func (o *onCluster) settled(t *testing.T, compare func(who string, pubs []*broker.Publication, gaps []broker.Gap, acked map[uint64]string)) {
	t.Helper()
	acked := o.load.end(t)
	for _, c := range o.channels {
		last := publishOne(t, o.logs[0], c, "end")
		acked[c][last] = "end"
		for i, w := range o.sinks[c] {
			until(t, "the last event is delivered", func() bool {
				pubs, _ := w.seen()
				return len(pubs) > 0 && pubs[len(pubs)-1].Offset == last
			})
			pubs, gaps := w.seen()
			compare(fmt.Sprintf("channel %s, gateway %d", c, i), pubs, gaps, acked[c])
		}
	}
	for _, l := range o.logs {
		until(t, "the log is ready", func() bool { return l.Health().Ready })
	}
}

// TestMovingSlotsLoseNothing moves the slots of channels in use from master to master while two gateways
// publish and follow. No event is lost by that, so no sink may get a gap, and each acknowledged event is
// delivered once and in order.
func TestMovingSlotsLoseNothing(t *testing.T) {
	fault.Seeds(t, 25, func(t *testing.T, rng *rand.Rand) {
		cluster := redisserver.StartCluster(t)
		o := loadCluster(t, cluster, 500*time.Millisecond)
		o.more(t, 100)
		for range 6 {
			slot := o.slot(o.channels[rng.IntN(len(o.channels))])
			to := (cluster.Owner(slot) + 1 + rng.IntN(2)) % 3
			cluster.Move(slot, to, func() {
				if rng.IntN(2) == 0 {
					o.more(t, 5+rng.IntN(20)) // of the other channels
				}
			})
			if rng.IntN(3) > 0 {
				o.more(t, 20+rng.IntN(100))
			}
		}
		o.settled(t, func(who string, pubs []*broker.Publication, gaps []broker.Gap, acked map[uint64]string) {
			check(t, who, pubs, gaps, acked, true)
		})
	})
}

// TestKilledMasterOfCluster kills a master under load and restarts it on its append-only file. An append that
// waits for a sync of the disk is lost with the process, so missing events must have been reported as a gap.
func TestKilledMasterOfCluster(t *testing.T) {
	fault.Seeds(t, 25, func(t *testing.T, rng *rand.Rand) {
		cluster := redisserver.StartCluster(t, "--appendonly", "yes")
		o := loadCluster(t, cluster, 2*time.Second)
		for range 2 {
			o.more(t, 200+rng.IntN(200))
			master := cluster.Masters[rng.IntN(3)]
			master.Kill()
			if rng.IntN(2) == 0 {
				// The other masters stop as well once they have noticed.
				other := cluster.Masters[0]
				if other == master {
					other = cluster.Masters[1]
				}
				until(t, "the cluster is down", func() bool { return !other.Sound() })
			}
			master.Restart()
			cluster.Whole()
		}
		o.more(t, 300)
		o.settled(t, func(who string, pubs []*broker.Publication, gaps []broker.Gap, acked map[uint64]string) {
			check(t, who, pubs, gaps, acked, len(gaps) == 0)
		})
	})
}

// TestReplicaTakesOver lets a replica take over from its master under load: when the master is killed, and
// when it is told to step down and lives on as a replica. Replication is asynchronous, so missing events must
// have been reported as a gap.
func TestReplicaTakesOver(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{true, false} {
		t.Run(map[bool]string{true: "killed", false: "told"}[kill], func(t *testing.T) {
			fault.Seeds(t, 25, func(t *testing.T, rng *rand.Rand) {
				cluster := redisserver.StartCluster(t)
				master := rng.IntN(3)
				replica := cluster.Replica(master)
				o := loadCluster(t, cluster, 2*time.Second)
				o.more(t, 200+rng.IntN(200))
				if kill {
					cluster.Masters[master].Kill()
				} else {
					replica.Do("CLUSTER FAILOVER")
				}
				until(t, "the replica has taken over", func() bool { return replica.Leads() && replica.Sound() })
				o.more(t, 300)
				o.settled(t, func(who string, pubs []*broker.Publication, gaps []broker.Gap, acked map[uint64]string) {
					check(t, who, pubs, gaps, acked, len(gaps) == 0)
				})
			})
		})
	}
}

// TestListingAsksNoReplica: a replica has no other channels than its master, and may still have removed ones.
// Before, a listing waited for replicas.
func TestListingAsksNoReplica(t *testing.T) {
	t.Parallel()
	c := redisserver.StartCluster(t)
	replica := c.Replica(0)
	l := open(t, c.URL(), true, silent)
	until(t, "the replica is known", func() bool { return l.read.Nodes()[replica.Addr()] != nil })
	publishOne(t, l, "c", "x")
	replica.Do("CLIENT PAUSE 60000 ALL")
	if names, err := l.Channels(t.Context(), "app-1", ""); err != nil || len(names) != 1 {
		t.Errorf("got %q, %v", names, err)
	}
	if n, err := l.Measure(t.Context(), "app-1"); err != nil || n == 0 {
		t.Errorf("got %d keys, %v", n, err)
	}
}
