package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/test/fault"
)

// TestR10GatewayCutOff cuts one of three gateways off NATS for a while, under load, in different ways. Its
// sockets keep their connection and miss nothing.
func TestR10GatewayCutOff(t *testing.T) {
	fault.Seeds(t, 10, func(t *testing.T, rnd *rand.Rand) {
		a := everything("app")
		a.SubscriptionCount = false
		c := start(t, 2, settings{replicated: true, apps: []*app.App{a}})
		// One proxy is the third gateway's whole network.
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
		// The gateway that is cut off cannot store anything, so the load goes to the others.
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
