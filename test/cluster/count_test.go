package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/streams"
)

// spread publishes n events from several writers through all gateways at once.
func (c *cluster) spread(t *testing.T, a *app.App, channel string, writers, n int, key func(int) string) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range writers {
		s := c.nodes[w%len(c.nodes)].sign(t, a)
		wg.Go(func() {
			for i := w; i < n; i += writers {
				publish(t, s, channel, body(key(i), i))
			}
		})
	}
	wg.Wait()
}

func sameKey(int) string { return "s" }

func TestClustersWithoutCoordination(t *testing.T) {
	c := start(t, 3, settings{})
	a := c.set.apps[0]
	one, two := c.nodes[0].watch(t, a, "market"), c.nodes[1].watch(t, a, "market")
	const n = 200
	c.spread(t, a, "market", 3, n/2, sameKey)
	await(t, "market", n/2, one, two)

	t.Run("CL-10 a killed and restarted gateway leaves the others decodable", func(t *testing.T) {
		c.nodes[2].close(t)
		c.nodes = c.nodes[:2]
		again := c.join().watch(t, a, "market")
		c.spread(t, a, "market", 3, n/2, sameKey)
		await(t, "market", n, one, two)
		await(t, "market", n/2, again)
		if got := again.all("")[0]; got.Form != client.Full {
			t.Errorf("the first event of a new subscription came %v", got.Form)
		}
	})
	t.Run("CL-01 subscribers on different nodes all decode", func(t *testing.T) {
		x, y := one.all(""), two.all("")
		deltas := 0
		for i := range x {
			if x[i].Frame != y[i].Frame || x[i].Number != y[i].Number {
				t.Fatalf("event %d is %s here and %s there", i, x[i].Frame, y[i].Frame)
			}
			if x[i].Form == client.Delta {
				deltas++
			}
		}
		if len(x) != n || len(y) != n || deltas < n*8/10 {
			t.Errorf("%d and %d events, %d of them deltas; want %d", len(x), len(y), deltas, n)
		}
	})
	t.Run("DS-10 the deltas of two nodes are the same bytes", func(t *testing.T) {
		x, y := one.all(""), two.all("")
		same := 0
		for i := range x {
			if x[i].Form == client.Delta && y[i].Form == client.Delta && x[i].BaseNumber == y[i].BaseNumber {
				same++
				if x[i].WireBytes != y[i].WireBytes {
					t.Errorf("event %d took %d bytes here and %d there", i, x[i].WireBytes, y[i].WireBytes)
				}
			}
		}
		if same == 0 {
			t.Error("no delta to compare")
		}
	})
	t.Run("ME-04 events from other nodes are counted", func(t *testing.T) {
		const name = "sockudo_horizontal_delta_compression_enabled_total"
		eventually(t, "all were counted", func() bool {
			// Each gateway accepted a third of the first half and, again as one of three gateways, of the
			// second.
			here := c.nodes[0].value(name)
			return here > n/2 && here < n
		})
	})
}

func TestCoordination(t *testing.T) {
	keyed := tenant("app")
	keyed.Patterns = []app.Pattern{{Match: "keyed-*", Delta: keyed.Delta}}
	keyed.Patterns[0].Delta.Path = "symbol"
	odd := tenant("a:b@c,d;é")
	odd.Patterns = []app.Pattern{{Match: "*", Delta: keyed.Patterns[0].Delta}}
	c := start(t, 3, settings{coordinate: true, apps: []*app.App{keyed, odd}, hub: hub.Options{PrimeTimeout: patience}})

	watchAll := func(t *testing.T, a *app.App, channels ...string) []*watcher {
		t.Helper()
		var all []*watcher
		for _, n := range c.nodes {
			all = append(all, n.watch(t, a, channels...))
		}
		return all
	}
	agree := func(t *testing.T, watchers []*watcher, channel string, want int) {
		t.Helper()
		first := fulls(watchers[0].all(channel))
		if len(first) != want {
			t.Errorf("%d events came in full, want %d", len(first), want)
		}
		for _, w := range watchers[1:] {
			if diff := cmp.Diff(first, fulls(w.all(channel))); diff != "" {
				t.Errorf("another gateway sent others in full (-first +other):\n%s", diff)
			}
		}
	}
	t.Run("CL-02 CL-03 CL-09 ten of a hundred are full everywhere, without a conflation path", func(t *testing.T) {
		all := watchAll(t, keyed, "plain")
		c.spread(t, keyed, "plain", 3, 100, sameKey)
		await(t, "plain", 100, all...)
		agree(t, all, "plain", 10)
	})
	t.Run("CL-02 a gateway that comes later counts on", func(t *testing.T) {
		early := c.nodes[0].watch(t, keyed, "late")
		for i := range 33 {
			publish(t, c.nodes[1].sign(t, keyed), "late", body("s", i))
		}
		await(t, "late", 33, early)
		// The first frame of a new subscription is always full.
		late := c.nodes[2].watch(t, keyed, "late")
		for i := range 60 {
			publish(t, c.nodes[1].sign(t, keyed), "late", body("s", i))
		}
		await(t, "late", 93, early)
		await(t, "late", 60, late)
		want := fulls(early.all("late")[34:])
		if diff := cmp.Diff(want, fulls(late.all("late")[1:])); diff != "" || len(want) != 6 {
			t.Errorf("%d full frames, want 6 (-early +late):\n%s", len(want), diff)
		}
	})
	t.Run("CL-04 CL-05 odd names are counted, each by itself", func(t *testing.T) {
		channels := []string{"x:1", "x@1", "x,1", "x;1"}
		keys := []string{"a:b", "a.b", "a b", "é", "a>*", ""}
		all := watchAll(t, odd, channels...)
		s := c.nodes[0].sign(t, odd)
		for i := range 20 {
			for _, channel := range channels {
				for _, key := range keys {
					publish(t, s, channel, body(key, i))
				}
			}
		}
		for _, channel := range channels {
			await(t, channel, 20*len(keys), all...)
			agree(t, all, channel, 2*len(keys))
			perKey := map[string]int{}
			for _, e := range all[0].all(channel) {
				if e.Form == client.Full {
					perKey[e.Key]++
				}
			}
			for _, key := range keys {
				if perKey[key] != 2 {
					t.Errorf("channel %s, value %q: %d of 20 were full, want 2", channel, key, perKey[key])
				}
			}
		}
	})
	t.Run("CL-06 eight writers at once", func(t *testing.T) {
		all := watchAll(t, keyed, "keyed-busy")
		c.spread(t, keyed, "keyed-busy", 8, 400, func(i int) string { return fmt.Sprint(i % 2) })
		await(t, "keyed-busy", 400, all...)
		agree(t, all, "keyed-busy", 40)
	})
	t.Run("counting takes few operations", func(t *testing.T) {
		for _, n := range c.nodes {
			if failed := n.value("sockudo_delta_cluster_coordination_failures_total"); failed != 0 {
				t.Errorf("%v failures", failed)
			}
			if diverged := n.value("sockudo_delta_cluster_coordination_divergences_total"); diverged != 0 {
				t.Errorf("%v divergences", diverged)
			}
		}
	})
}

func TestCoordinationWithoutItsBucket(t *testing.T) {
	c := start(t, 2, settings{coordinate: true, hub: hub.Options{SweepInterval: 50 * time.Millisecond}})
	a := c.set.apps[0]
	one := c.nodes[0].watch(t, a, "market")
	nc := c.raw(t)
	js, err := nc.JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue("counters"); err != nil {
		t.Fatal(err)
	}
	t.Run("CL-07 publishing goes on and the failure metric rises", func(t *testing.T) {
		two := c.nodes[1].watch(t, a, "market")
		c.spread(t, a, "market", 2, 100, sameKey)
		await(t, "market", 100, one, two)
		for _, n := range c.nodes {
			eventually(t, "the failure is counted", func() bool {
				return n.value("sockudo_delta_cluster_coordination_failures_total") > 0
			})
		}
		if got := c.nodes[1].ready(t); !contains(got, "counted by this gateway alone") || !contains(got, `"ready":true`) {
			t.Errorf("/ready says %s", got)
		}
		// The gateway that had a count before cannot save it.
		eventually(t, "readiness tells that checkpoints are not written", func() bool {
			return contains(c.nodes[0].ready(t), "cannot be written")
		})
		if n := len(fulls(one.all("market"))); n < 10 || n > 30 {
			t.Errorf("%d of 100 came in full", n)
		}
	})
}

func TestIdleCounters(t *testing.T) {
	c := start(t, 1, settings{coordinate: true})
	a := c.set.apps[0]
	w := c.nodes[0].watch(t, a, "market")
	for i := range 25 {
		publish(t, c.nodes[0].sign(t, a), "market", body("s", i))
	}
	await(t, "market", 25, w)
	t.Run("CL-08 a counter lives for five minutes", func(t *testing.T) {
		js, err := c.raw(t).JetStream(nats.MaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		bucket, err := js.KeyValue("counters")
		if err != nil {
			t.Fatal(err)
		}
		status, err := bucket.Status()
		if err != nil {
			t.Fatal(err)
		}
		if status.TTL() != 5*time.Minute || streams.CounterTTL != count.TTL {
			t.Errorf("the bucket keeps values for %v, gateways count on %v", status.TTL(), count.TTL)
		}
		keys, err := bucket.Keys()
		if err != nil || len(keys) != 1 {
			t.Errorf("keys %v (%v), want one", keys, err)
		}
	})
}

func TestOddCheckpoints(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON": "garbage", "another shape": `{"s":"x"}`, "impossible counts": `{"s":1,"t":"2026-01-01T00:00:00Z","n":10,"m":100,"k":["a","a"],"c":[1,2]}`,
		"an offset that is not there": `{"s":900000,"t":"2026-01-01T00:00:00Z","n":10,"m":100,"k":[],"c":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, 2, settings{coordinate: true})
			a := c.set.apps[0]
			retained, err := c.nodes[0].log.Retained(t.Context(), a.ID, "market")
			if err != nil {
				t.Fatal(err)
			}
			js, err := c.raw(t).JetStream(nats.MaxWait(patience))
			if err != nil {
				t.Fatal(err)
			}
			bucket, err := js.KeyValue("counters")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bucket.PutString("app.market."+retained.Epoch, value); err != nil {
				t.Fatal(err)
			}
			one, two := c.nodes[0].watch(t, a, "market"), c.nodes[1].watch(t, a, "market")
			for i := range 60 {
				publish(t, c.nodes[i%2].sign(t, a), "market", body("s", i))
			}
			await(t, "market", 60, one, two)
			if diff := cmp.Diff(fulls(one.all("market")), fulls(two.all("market"))); diff != "" {
				t.Errorf("gateways sent different events in full:\n%s", diff)
			}
			if n := len(fulls(one.all("market"))); n < 6 || n > 7 {
				t.Errorf("%d of 60 came in full, want 6 or, with the first of the subscription, 7", n)
			}
		})
	}
}
