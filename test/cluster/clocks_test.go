package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/test/fault"
)

// clocked has three gateways and three NATS servers, each in its own process. On either side one clock is an
// hour behind, one right, and one an hour ahead.
type clocked struct {
	t        *testing.T
	nats     []*natsChild
	gateways []*child
	app      *app.App
}

func startClocked(t *testing.T, rnd *rand.Rand, program, hook string) *clocked {
	t.Helper()
	c := &clocked{t: t}
	clocks := func() []clock {
		out := []clock{{program, -time.Hour}, {program, 0}, {program, time.Hour}}
		rnd.Shuffle(3, func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	}
	c.nats = spawnNATSCluster(t, clocks()...)
	set := childSettings{App: "app", Members: 100, Lease: 15 * time.Second, Hook: hook}
	set.URLs = urlsOf(c.nats)
	c.app = set.tenant()
	for _, set.clock = range clocks() {
		c.gateways = append(c.gateways, spawn(t, set))
	}
	return c
}

// send sends a request to a gateway, signed with a clock that differs from the gateway's by off.
func (c *clocked) send(gateway int, off time.Duration, method, path, body string, into any) int {
	g := c.gateways[gateway]
	status, text, err := sendAt(time.Now().Add(g.clock.ahead+off), g.Addr(), c.app, method, path, body)
	if err != nil {
		c.t.Error(err)
	}
	if into != nil && json.Unmarshal(text, into) != nil {
		c.t.Errorf("%s %s answered %s", method, path, text)
	}
	return status
}

// log returns the data of all events of a channel.
func (c *clocked) log(channel string) (out []string) {
	c.t.Helper()
	for cursor := ""; ; {
		var got struct {
			Items []struct{ Message json.RawMessage }
			Next  *string `json:"next_cursor"`
		}
		path := "/channels/" + channel + "/history?limit=1000&direction=oldest_first" + cursor
		if status := c.send(0, 0, http.MethodGet, path, "", &got); status != http.StatusOK {
			c.t.Fatalf("history answered %d", status)
		}
		for _, item := range got.Items {
			var m struct{ Data string }
			if err := json.Unmarshal(item.Message, &m); err != nil {
				c.t.Fatal(err)
			}
			out = append(out, m.Data)
		}
		if got.Next == nil {
			return out
		}
		cursor = "&cursor=" + url.QueryEscape(*got.Next)
	}
}

// TestR14Clocks has gateways and servers whose clocks are an hour apart. Leaders are killed, so the time of
// the log jumps both ways. Only the authorization of requests depends on another machine's clock.
func TestR14Clocks(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	// The build takes a while, during which other tests run.
	build := sync.OnceValues(func() (string, error) { return fault.BuildWithOwnClock(ctx, dir) })
	fault.Seeds(t, 14, func(t *testing.T, rnd *rand.Rand) {
		const channel, room = "clocked", "presence-clocked"
		program, err := build()
		if err != nil {
			t.Fatal(err)
		}
		hooks := listenHooks(t)
		c := startClocked(t, rnd, program, hooks.URL)
		event := func(channel, data, key string) string {
			return fmt.Sprintf(`{"name":"tick","channel":%q,"data":%q,"idempotency_key":%q}`, channel, data, key)
		}
		var watchers []*peer
		var deltas []*watcher
		var members []string
		for i, g := range c.gateways {
			for _, off := range []time.Duration{-time.Hour, time.Hour} {
				if status := c.send(i, off, http.MethodGet, "/channels", "", nil); status != http.StatusUnauthorized {
					t.Errorf("a request with a time that is off by %v answered %d", off, status)
				}
			}
			if status := c.send(i, 0, http.MethodPost, "/events", event("cache-clocked", "remembered", fmt.Sprint("cache-", i)), nil); status != http.StatusOK {
				t.Errorf("publishing answered %d", status)
			}
			w := dialPeer(t, g.Addr(), c.app)
			w.subscribe(channel, "")
			w.subscribe(room, user(fmt.Sprint("member-", i)))
			watchers, members = append(watchers, w), append(members, fmt.Sprint("member-", i))
			d := &watcher{}
			if d.Client, err = client.Dial(t.Context(), client.Options{URL: "http://" + g.Addr(), Key: c.app.Key, Delta: true, OnEvent: d.take}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			if err := d.Subscribe(t.Context(), channel); err != nil {
				t.Fatal(err)
			}
			deltas = append(deltas, d)
		}
		converge(t, room, members, watchers...)
		for i, w := range watchers {
			w.subscribe("cache-clocked", "")
			if m := w.await("tick", "cache-clocked"); m.str() != "remembered" {
				t.Errorf("gateway %d remembers %s", i, m.text)
			}
			var got struct{ Cache struct{ TTL int } }
			if status := c.send(i, 0, http.MethodGet, "/channels/cache-clocked?info=cache", "", &got); status != http.StatusOK || got.Cache.TTL < 1700 || got.Cache.TTL > 1800 {
				t.Errorf("gateway %d: %d, the cached event is good for %d s", i, status, got.Cache.TTL)
			}
			if status := c.send(i, 0, http.MethodPost, "/events", event("once", "once", "one-key"), nil); status != http.StatusOK {
				t.Errorf("publishing answered %d", status)
			}
		}
		if got := c.log("once"); len(got) != 1 {
			t.Errorf("one idempotency key stored %d events", len(got))
		}

		acked := c.publishOverKills(channel, event)
		log := c.log(channel)
		for _, id := range acked {
			if !slices.Contains(log, body("k", id)) {
				t.Errorf("event %d was acknowledged and is not in the log", id)
			}
		}
		for i := range c.gateways {
			eventually(t, "all events have come", func() bool {
				return len(watchers[i].all("tick", channel)) >= len(log) && len(deltas[i].all(channel)) >= len(log)
			})
			made := 0
			for k, m := range watchers[i].all("tick", channel) {
				d := deltas[i].all(channel)[k]
				if m.str() != log[k] || d.Data != log[k] {
					t.Fatalf("gateway %d: event %d is %.60s and %.60s, the log has %.60s", i, k, m.str(), d.Data, log[k])
				}
				if d.Form == client.Delta {
					made++
				}
			}
			if made < len(log)/2 {
				t.Errorf("gateway %d sent %d of %d events as deltas", i, made, len(log))
			}
		}

		c.gateways[2].kill()
		converge(t, room, members[:2], watchers[:2]...)
		for i, w := range watchers[:2] {
			w.usable()
			if n := len(w.all("pusher_internal:member_removed", room)); n != 1 {
				t.Errorf("gateway %d told of %d members that went", i, n)
			}
		}
		eventually(t, "the webhook of the member that went", func() bool { return hooks.count("member_removed", room, members[2]) >= 1 })
		for _, m := range members {
			// A killed gateway may have delivered a webhook without recording that.
			if n := hooks.count("member_added", room, m); n < 1 || n > 2 {
				t.Errorf("%d webhooks say that %s came", n, m)
			}
		}
	})
}

// publishOverKills publishes through all gateways while leaders of the stream are killed, whose clock sets
// the time of events. It returns the acknowledged events.
func (c *clocked) publishOverKills(channel string, event func(channel, data, key string) string) (acked []int) {
	c.t.Helper()
	var mu sync.Mutex
	var publishing sync.WaitGroup
	next, stop := 0, make(chan struct{})
	for i := range c.gateways {
		publishing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				next++
				id := next
				mu.Unlock()
				if c.send(i, 0, http.MethodPost, "/events", event(channel, body("k", id), fmt.Sprint("load-", id)), nil) == http.StatusOK {
					mu.Lock()
					acked = append(acked, id)
					mu.Unlock()
				}
			}
		})
	}
	more := func(n int) {
		c.t.Helper()
		mu.Lock()
		want := len(acked) + n
		mu.Unlock()
		eventually(c.t, "further events are acknowledged", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(acked) >= want
		})
	}
	for range 2 {
		more(60)
		led := leaderOf(c.t, c.nats, c.app)
		led.kill()
		more(60)
		led.start()
		c.t.Logf("the leader's clock was ahead by %v, then by %v", led.clock.ahead, leaderOf(c.t, c.nats, c.app).clock.ahead)
	}
	more(30)
	close(stop)
	publishing.Wait()
	return acked
}
