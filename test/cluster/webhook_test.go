package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// TestWebhooksOfAllGateways covers the checklist lines WH-02 to WH-06, CA-07 and CE-11 on three gateways.
func TestWebhooksOfAllGateways(t *testing.T) {
	t.Parallel()
	hooks := listenHooks(t)
	a := everything("app")
	a.Webhooks = []app.Webhook{{URL: hooks.URL}}
	const grace = 5 * time.Second
	c := start(t, 3, settings{replicated: true, apps: []*app.App{a}, webhooks: webhook.Options{Grace: grace}})
	count := func(name, channel, user string) func() bool {
		return func() bool { return hooks.count(name, channel, user) > 0 }
	}
	one, two := c.nodes[0].connect(t, a), c.nodes[1].connect(t, a)
	one.subscribe("room", "")
	eventually(t, "WH-02 the channel is occupied", count("channel_occupied", "room", ""))
	two.subscribe("room", "")
	eventually(t, "WH-06 the count is told", count("subscription_count", "room", ""))
	one.unsubscribe("room")
	// WH-04: a user leaves and comes back on another gateway.
	three := c.nodes[2].connect(t, a)
	left := time.Now()
	two.unsubscribe("room")
	three.subscribe("room", "")
	slow := time.Since(left) > grace/3 // the user may have been away for longer than the grace period

	one.subscribe("presence-room", user("u1"))
	two.subscribe("presence-room", user("u1"))
	three.subscribe("presence-room", user("u2"))
	eventually(t, "WH-05 the second user is told", count("member_added", "presence-room", "u2"))
	one.say(`{"event":"client-hi","channel":"presence-room","data":{"a":1}}`)
	eventually(t, "CE-11 the client event is told", count("client_event", "presence-room", "u1"))
	one.close()
	two.close()
	eventually(t, "WH-05 the first user has left", count("member_removed", "presence-room", "u1"))

	for _, n := range c.nodes {
		p := n.connect(t, a)
		p.subscribe("cache-empty", "")
		p.await("pusher:cache_miss", "cache-empty")
	}
	eventually(t, "CA-07 the miss is told", count("cache_miss", "cache-empty", ""))

	three.close()
	eventually(t, "WH-03 the channel is vacated", count("channel_vacated", "room", ""))
	eventually(t, "the other channel, too", count("channel_vacated", "presence-room", ""))
	for _, w := range []struct{ name, channel, user string }{
		{"channel_occupied", "room", ""}, {"channel_vacated", "room", ""}, {"member_added", "presence-room", "u1"},
		{"member_removed", "presence-room", "u1"}, {"member_added", "presence-room", "u2"}, {"member_removed", "presence-room", "u2"},
		{"client_event", "presence-room", "u1"}, {"cache_miss", "cache-empty", ""},
	} {
		if w.user == "u2" && w.name == "member_removed" {
			eventually(t, "the last user has left", count(w.name, w.channel, w.user))
		}
		if n := hooks.count(w.name, w.channel, w.user); n != 1 && !(slow && w.channel == "room" && n == 2) {
			t.Errorf("%v was told %d times of\n%s", w, n, strings.Join(hooks.about(w.channel), "\n"))
		}
	}
}
