package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/streams"
)

// TestUsersAndCounts covers the checklist lines about users, counts and queries that concern all gateways.
func TestUsersAndCounts(t *testing.T) {
	a := everything("app")
	quiet := everything("quiet")
	quiet.SubscriptionCount, quiet.Watchlist = false, false
	limited := everything("limited")
	limited.Limits.MaxConnections = 4
	strict := everything("strict")
	strict.AuthTimeout = 10 * time.Second
	c := start(t, 3, settings{
		replicated: true, apps: []*app.App{a, quiet, limited, strict}, hub: hub.Options{SweepInterval: 20 * time.Millisecond},
	})
	// The time-outs of this test pass while the others run.
	authorized := testAuthorized(t, c, strict)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster, *app.App)
		app  *app.App
	}{
		{"WS-06 connections of all gateways", testMaxConnections, limited},
		{"US-06 US-07 events to a user", testServerToUser, a},
		{"US-09 EV-22 terminate", testTerminate, a},
		{"US-12 US-13 watchlists", testWatchlist, a},
		{"US-12 another sign-in replaces the watchlist", testWatchlistAnew, a},
		{"US-14 a watchlist that is too long", testLongWatchlist, a},
		{"CN-01 CN-02 CN-05 SUB-06 SUB-09 counts", testCounts, a},
		{"CN-03 many subscribers", testManySubscribers, a},
		{"CN-04 without counts", testNoCounts, quiet},
		{"EV-11 EV-15 EV-17 to EV-21 US-08 queries", testQueries, a},
		{"CA-03 CE-05 the cache is that of all", testCache, a},
		{"US-10 US-11 authorized connections", authorized, strict},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c, test.app) })
	}
}

func testMaxConnections(t *testing.T, c *cluster, a *app.App) {
	var in []*peer
	for i := range 4 {
		in = append(in, c.nodes[i%3].connect(t, a))
	}
	for _, n := range c.nodes {
		eventually(t, "one too many is refused", func() bool {
			p := n.dial(t, a)
			defer p.close()
			eventually(t, "an answer", func() bool { return len(p.all("", "")) > 0 })
			return p.all("", "")[0].Event == "pusher:error"
		})
		p := n.dial(t, a)
		if code := p.closed(); code != 4004 {
			t.Errorf("one too many was closed with %d", code)
		}
	}
	if c.nodes[0].value("sockudo_connections_refused_total") == 0 {
		t.Error("no refusal was counted")
	}
	in[0].close()
	eventually(t, "there is room again", func() bool {
		p := c.nodes[1].dial(t, a)
		eventually(t, "an answer", func() bool { return len(p.all("", "")) > 0 })
		return p.all("", "")[0].Event == "pusher:connection_established"
	})
}

func testServerToUser(t *testing.T, c *cluster, a *app.App) {
	var of []*peer
	for _, n := range c.nodes {
		p := n.connect(t, a)
		p.signIn(`{"id":"ada"}`)
		p.subscribe("#server-to-user-ada", "")
		of = append(of, p)
	}
	other := c.nodes[0].connect(t, a)
	other.subscribe("presence-ada", user("ada"))
	publish(t, c.nodes[1].sign(t, a), "#server-to-user-ada", "hello")
	for _, p := range of {
		if m := p.await("tick", "#server-to-user-ada"); m.str() != "hello" {
			t.Errorf("got %s", m.text)
		}
	}
	other.usable()
	if got := other.all("tick", ""); len(got) > 0 {
		t.Errorf("a mere member got %v", got)
	}
}

func testTerminate(t *testing.T, c *cluster, a *app.App) {
	var ends, stay []*peer
	for _, n := range c.nodes {
		p, q, r := n.connect(t, a), n.connect(t, a), n.connect(t, a)
		p.signIn(`{"id":"bad guy/é"}`)
		q.signIn(`{"id":"good"}`)
		r.subscribe("presence-terminate", user("bad guy/é"))
		ends, stay = append(ends, p), append(stay, q, r)
	}
	// Issue 12, 4: a publisher may not forge orders between gateways, whatever channel or sender it uses.
	forger := c.raw(t)
	for _, channel := range []string{"#sluice-orders", a.ID, broker.GatewaysApp, broker.GatewaysApp + "." + a.ID, "#server-to-user-bad guy/é"} {
		forged := &nats.Msg{
			Subject: streams.SubjectOf(a.ID, channel), Data: []byte(`{"terminate":"bad guy/é"}`),
			Header: nats.Header{"Origin": {"http"}, "Node": {"0"}, "Event": {"sluice_internal:order"}},
		}
		if _, err := forger.RequestMsg(forged, patience); err != nil {
			t.Errorf("publishing to %s: %v", channel, err)
		}
	}
	for _, p := range ends {
		p.usable()
	}
	for _, id := range []string{"bad%20guy%2F%C3%A9", "nobody"} {
		if status := c.nodes[1].request(t, a, http.MethodPost, "/users/"+id+"/terminate_connections", "{}", nil); status != http.StatusOK {
			t.Errorf("terminate answered %d", status)
		}
	}
	for i, p := range ends {
		if code := p.closed(); code != 4009 {
			t.Errorf("connection %d was closed with %d", i, code)
		}
	}
	for _, p := range stay {
		p.usable()
	}
}

// testAuthorized connects clients, and returns a function that checks later which of them were closed.
func testAuthorized(t *testing.T, c *cluster, a *app.App) (becomes func(*testing.T, *cluster, *app.App)) {
	joined := c.nodes[0].connect(t, a)
	joined.subscribe("private-room", "")
	signed := c.nodes[0].connect(t, a)
	signed.signIn(`{"id":"u"}`)
	idle := c.nodes[0].connect(t, a)
	idle.subscribe("public", "")
	return func(t *testing.T, c *cluster, _ *app.App) {
		if code := idle.closed(); code != 4009 {
			t.Errorf("an anonymous socket was closed with %d", code)
		}
		joined.usable()
		signed.usable()
		if c.nodes[0].value("sockudo_limits_total") == 0 {
			t.Error("the limit was not counted")
		}
	}
}

func testWatchlist(t *testing.T, c *cluster, a *app.App) {
	first := c.nodes[1].connect(t, a)
	first.signIn(`{"id":"w-online"}`)
	p := c.nodes[0].connect(t, a)
	const list = `{"id":"watcher","watchlist":["w-online","w-offline"]}`
	eventually(t, "the sign-in is known everywhere", func() bool {
		probe := c.nodes[0].connect(t, a)
		defer probe.close()
		probe.signIn(`{"id":"probe","watchlist":["w-online"]}`)
		return strings.Contains(probe.await("pusher_internal:watchlist_events", "").str(), `"online"`)
	})
	p.signIn(list)
	want := `{"events":[{"name":"online","user_ids":["w-online"]},{"name":"offline","user_ids":["w-offline"]}]}`
	if m := p.await("pusher_internal:watchlist_events", ""); m.str() != want {
		t.Errorf("got %s", m.text)
	}
	second := c.nodes[2].connect(t, a)
	second.signIn(`{"id":"w-online"}`)
	third := c.nodes[2].connect(t, a)
	third.signIn(`{"id":"w-offline"}`)
	if m := p.awaitN("pusher_internal:watchlist_events", "", 2)[1]; m.str() != `{"events":[{"name":"online","user_ids":["w-offline"]}]}` {
		t.Errorf("got %s", m.text)
	}
	first.close()
	third.close()
	if m := p.awaitN("pusher_internal:watchlist_events", "", 3)[2]; m.str() != `{"events":[{"name":"offline","user_ids":["w-offline"]}]}` {
		t.Errorf("got %s", m.text)
	}
	second.close()
	if m := p.awaitN("pusher_internal:watchlist_events", "", 4)[3]; m.str() != `{"events":[{"name":"offline","user_ids":["w-online"]}]}` {
		t.Errorf("got %s", m.text)
	}
}

func testWatchlistAnew(t *testing.T, c *cluster, a *app.App) {
	p := c.nodes[0].connect(t, a)
	p.signIn(`{"id":"anew","watchlist":["anew-left","anew-stays"]}`)
	p.await("pusher_internal:watchlist_events", "")
	p.signIn(`{"id":"anew","watchlist":["anew-stays","anew-new"]}`)
	if m := p.awaitN("pusher_internal:watchlist_events", "", 2)[1]; m.str() != `{"events":[{"name":"offline","user_ids":["anew-stays","anew-new"]}]}` {
		t.Errorf("got %s", m.text)
	}
	// A user that is no longer listed comes first, so no frame about it is in flight at the end.
	var last *peer
	for _, user := range []string{"anew-left", "anew-stays", "anew-new"} {
		last = c.nodes[0].connect(t, a)
		last.signIn(`{"id":"` + user + `"}`)
	}
	told := p.awaitN("pusher_internal:watchlist_events", "", 4)[2:]
	for i, user := range []string{"anew-stays", "anew-new"} {
		if m := told[i]; m.str() != `{"events":[{"name":"online","user_ids":["`+user+`"]}]}` {
			t.Errorf("got %s", m.text)
		}
	}
	other := c.nodes[0].connect(t, a)
	other.signIn(`{"id":"other","watchlist":["anew-new"]}`)
	other.await("pusher_internal:watchlist_events", "")
	p.signIn(`{"id":"anew","watchlist":null}`)
	p.usable() // the watchlist is replaced after signin_success was sent
	last.close()
	other.awaitN("pusher_internal:watchlist_events", "", 2)
	p.usable()
	if all := p.all("pusher_internal:watchlist_events", ""); len(all) != 4 {
		t.Errorf("a connection without a watchlist is told %s", all[4].text)
	}
}

func testLongWatchlist(t *testing.T, c *cluster, a *app.App) {
	var users []string
	for i := range 101 {
		users = append(users, fmt.Sprintf("%q", fmt.Sprint("long-", i)))
	}
	p := c.nodes[0].connect(t, a)
	p.signIn(`{"id":"longwatcher","watchlist":[` + strings.Join(users, ",") + `]}`)
	if e := p.await("pusher:error", ""); !strings.Contains(e.text, `"code":4302`) {
		t.Errorf("got %s", e.text)
	}
	if m := p.await("pusher_internal:watchlist_events", ""); !strings.Contains(m.str(), `"long-99"`) || strings.Contains(m.str(), `"long-100"`) {
		t.Errorf("got %.200s", m.text)
	}
}

func lastCount(p *peer, channel string) string {
	all := p.all("pusher_internal:subscription_count", channel)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1].str()
}

func testCounts(t *testing.T, c *cluster, a *app.App) {
	const channel = "counted"
	var peers []*peer
	for i := range 6 {
		p := c.nodes[i%3].connect(t, a)
		p.subscribe(channel, "")
		peers = append(peers, p)
		want := fmt.Sprintf(`{"subscription_count":%d}`, i+1)
		for _, q := range peers {
			eventually(t, "everybody is told "+want, func() bool { return lastCount(q, channel) == want })
		}
	}
	peers[0].subscribe(channel, "")
	peers[1].close()
	peers[2].unsubscribe(channel)
	for _, i := range []int{0, 3, 4, 5} {
		eventually(t, "everybody is told of 4", func() bool { return lastCount(peers[i], channel) == `{"subscription_count":4}` })
	}
	p := c.nodes[0].connect(t, a)
	p.subscribe("presence-counted", user("u"))
	p.unsubscribe("presence-counted")
	p.subscribe("presence-counted", user("u"))
	p.usable()
	if got := p.all("pusher_internal:subscription_count", "presence-counted"); len(got) > 0 {
		t.Errorf("a presence channel was told %v", got)
	}
}

func testManySubscribers(t *testing.T, c *cluster, a *app.App) {
	const channel = "crowd"
	first := c.nodes[0].connect(t, a)
	first.subscribe(channel, "")
	began := time.Now()
	for i := range 150 {
		c.nodes[i%3].connect(t, a).subscribe(channel, "")
	}
	eventually(t, "the last count is right", func() bool { return lastCount(first, channel) == `{"subscription_count":151}` })
	above := 0
	for _, m := range first.all("pusher_internal:subscription_count", channel) {
		var n int
		if _, err := fmt.Sscanf(m.str(), `{"subscription_count":%d}`, &n); err == nil && n > 100 {
			above++
		}
	}
	if most := int(time.Since(began)/(5*time.Second)) + 2; above > most {
		t.Errorf("%d counts above 100 were told in %v", above, time.Since(began))
	}
}

func testNoCounts(t *testing.T, c *cluster, a *app.App) {
	p, q := c.nodes[0].connect(t, a), c.nodes[1].connect(t, a)
	p.subscribe("quiet", "")
	q.subscribe("quiet", "")
	eventually(t, "both are counted", func() bool {
		var got struct {
			N int `json:"subscription_count"`
		}
		c.nodes[2].get(t, a, "/channels/quiet?info=subscription_count", &got)
		return got.N == 2
	})
	p.usable()
	if got := p.all("pusher_internal:subscription_count", ""); len(got) > 0 {
		t.Errorf("counts were told: %v", got)
	}
}

func testQueries(t *testing.T, c *cluster, a *app.App) {
	for i := range 4 {
		p := c.nodes[i%2].connect(t, a)
		p.subscribe("query", "")
		p.subscribe("presence-query", user(fmt.Sprint("q", i%3)))
		p.signIn(fmt.Sprintf(`{"id":"q%d"}`, i))
		p.subscribe(fmt.Sprintf("#server-to-user-q%d", i), "")
	}
	for i, n := range c.nodes {
		eventually(t, fmt.Sprint("gateway ", i, " has all numbers"), func() bool {
			var channels struct{ Channels map[string]map[string]int }
			n.get(t, a, "/channels?filter_by_prefix=presence-&info=user_count,subscription_count", &channels)
			room := channels.Channels["presence-query"]
			var one map[string]any
			n.get(t, a, "/channels/presence-query?info=user_count,subscription_count", &one)
			var users struct{ Users []struct{ ID string } }
			n.get(t, a, "/channels/presence-query/users", &users)
			return room["user_count"] == 3 && room["subscription_count"] == 4 && one["occupied"] == true && len(one) == 3 &&
				one["user_count"] == 3.0 && one["subscription_count"] == 4.0 && len(users.Users) == 3
		})
		eventually(t, fmt.Sprint("gateway ", i, " counts the subscribers"), func() bool {
			var got struct {
				N int `json:"subscription_count"`
			}
			n.get(t, a, "/channels/query?info=subscription_count", &got)
			return got.N == 4
		})
		var all struct{ Channels map[string]map[string]int }
		n.get(t, a, "/channels", &all)
		if _, there := all.Channels["query"]; !there || len(all.Channels["query"]) != 0 {
			t.Errorf("gateway %d lists %v", i, all.Channels)
		}
		for channel := range all.Channels {
			if strings.HasPrefix(channel, "#") || channel == "" {
				t.Errorf("gateway %d lists %q", i, channel)
			}
		}
		var none map[string]any
		if n.get(t, a, "/channels/nobody-here", &none); none["occupied"] != false || len(none) != 1 {
			t.Errorf("an empty channel gave %v", none)
		}
		var own map[string]any
		n.get(t, a, "/channels/%23server-to-user-q0?info=subscription_count", &own)
		if own["occupied"] != false || own["subscription_count"] != 0.0 {
			t.Errorf("US-08 gateway %d says of the channel of a user: %v", i, own)
		}
		const body = `{"name":"e","channels":["query","presence-query"],"data":"x","info":"user_count,subscription_count"}`
		eventually(t, fmt.Sprint("gateway ", i, " tells who a publish publishes"), func() bool {
			var answer struct {
				Channels map[string]map[string]int
			}
			n.request(t, a, http.MethodPost, "/events", body, &answer)
			return fmt.Sprint(answer.Channels) == "map[presence-query:map[subscription_count:4 user_count:3] query:map[subscription_count:4]]"
		})
	}
}

func testCache(t *testing.T, c *cluster, a *app.App) {
	publish(t, c.nodes[0].sign(t, a), "presence-cache-x", "remembered")
	for i, n := range c.nodes {
		p := n.connect(t, a)
		p.subscribe("presence-cache-x", user(fmt.Sprint("u", i)))
		if m := p.await("tick", "presence-cache-x"); m.str() != "remembered" {
			t.Errorf("gateway %d remembers %s", i, m.text)
		}
		p.say(`{"event":"client-x","channel":"presence-cache-x","data":{"a":1}}`)
		var got struct {
			Cache struct{ Data string }
		}
		if n.get(t, a, "/channels/presence-cache-x?info=cache", &got); got.Cache.Data != "remembered" {
			t.Errorf("gateway %d answers %+v", i, got)
		}
	}
}
