package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/fault"
)

// TestR10GatewayCutOff takes one of three gateways off NATS for a while, under load, in
// different ways. Its sockets keep their connection and miss nothing.
func TestR10GatewayCutOff(t *testing.T) {
	fault.Seeds(t, 10, func(t *testing.T, rnd *rand.Rand) {
		a := everything("app")
		a.SubscriptionCount = false
		c := start(t, 2, settings{replicated: true, apps: []*app.App{a}})
		// One proxy stands for the whole network of the third gateway.
		proxy, err := fault.NewProxy(c.nats.urls()[rnd.IntN(3)][len("nats://"):])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		c.through = "nats://" + proxy.Addr()
		alone := c.join()
		var watchers []*peer
		for _, n := range c.nodes {
			w := n.connect(t, a)
			for i := range 4 {
				w.subscribe(fmt.Sprint("load-", i), "")
			}
			watchers = append(watchers, w)
		}
		// The one that is cut off cannot store anything, so the load goes elsewhere.
		l := startLoad(t, &cluster{t: t, nodes: c.nodes[:2]}, a, 4, 4)
		times := []time.Duration{time.Second, 3 * time.Second}
		if fault.Long() {
			times = []time.Duration{time.Second, 10 * time.Second, time.Minute}
		}
		for _, long := range times {
			mode := []fault.Mode{fault.Cut, fault.Reset, fault.Stall, fault.HalfOpen}[rnd.IntN(4)]
			l.more(50)
			proxy.Set(mode)
			<-time.After(long)
			l.more(20)
			proxy.Set(fault.Pass)
			eventually(t, "the gateway is ready again", func() bool { return alone.log.Health().Ready })
		}
		l.check(c, a, watchers)
	})
}

// TestR16RollingRestart restarts three gateways one after the other under load. Clients
// go to another one at once, and what each saw and missed is the log.
func TestR16RollingRestart(t *testing.T) {
	fault.Seeds(t, 16, func(t *testing.T, rnd *rand.Rand) {
		c, a, watchers := faultCluster(t)
		// The load goes through a gateway that stays, and the sockets that are
		// compared with the log are on it; the others must be told to go.
		l := startLoad(t, &cluster{t: t, nodes: c.nodes[:1]}, a, 4, 4)
		for i := 1; i < 3; i++ {
			l.more(50 + rnd.IntN(50))
			c.nodes[i].close(t)
			if code := watchers[i].closed(); code != 4200 {
				t.Errorf("watcher %d was closed with %d", i, code)
			}
			last := map[string]int{}
			for _, channel := range l.channels {
				last[channel] = len(watchers[i].all("load", channel))
			}
			n := c.join()
			c.nodes[i] = n
			c.nodes = c.nodes[:3]
			w := n.connect(t, a)
			for _, channel := range l.channels {
				w.subscribe(channel, "")
			}
			l.more(50)
			// What it saw before is the beginning of the log, and what it sees now
			// is the end of it; history has what lies between.
			for _, channel := range l.channels {
				log := readLog(t, n.log, a.ID, channel)
				for k, m := range watchers[i].all("load", channel) {
					if m.str() != log[k] {
						t.Fatalf("event %d of %s is %s, the log has %s", k, channel, m.str(), log[k])
					}
				}
			}
			watchers[i] = w
		}
		l.check(&cluster{t: t, nodes: c.nodes[:1]}, a, watchers[:1])
		for _, channel := range l.channels {
			log := readLog(t, c.nodes[0].log, a.ID, channel)
			for i, w := range watchers[1:] {
				eventually(t, "the end of the log has come", func() bool {
					got := w.all("load", channel)
					return len(got) > 0 && got[len(got)-1].str() == log[len(log)-1]
				})
				got := w.all("load", channel)
				from := len(log) - len(got)
				for k, m := range got {
					if m.str() != log[from+k] {
						t.Fatalf("watcher %d: event %d of %s is %s, the log has %s", i, k, channel, m.str(), log[from+k])
					}
				}
			}
		}
	})
}
