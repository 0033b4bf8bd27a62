package cluster

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// subscribed subscribes and waits until the subscription has succeeded.
func (s *socket) subscribed(t *testing.T, channel, auth string) {
	t.Helper()
	s.say("subscribe", fmt.Sprintf(`{"channel":%q,"auth":%q}`, channel, auth))
	eventually(t, "the subscription succeeds", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open[channel] != nil
	})
}

func (s *socket) count(channel string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.open[channel]; at != nil {
		return len(at.got)
	}
	return 0
}

func TestClientEventsAcrossGateways(t *testing.T) {
	a := tenant("app")
	a.ClientEvents, a.UserAuth = true, true
	c := start(t, 3, settings{apps: []*app.App{a}})
	const room = "private-room"
	var sockets []*socket
	for _, n := range c.nodes {
		s := dialSocket(t, n, a, pusher.V1)
		t.Cleanup(s.close)
		s.subscribed(t, room, a.Key+":"+pusher.SignChannel(a.Secret.Reveal(), s.name(), room, "", false))
		sockets = append(sockets, s)
	}
	t.Run("CE-01 a client event reaches all other subscribers on all nodes and not its sender", func(t *testing.T) {
		const n = 20
		for i := range n {
			_ = sockets[0].conn.WriteString(fmt.Sprintf(`{"event":"client-x","channel":%q,"data":{"id":"%d"}}`, room, i))
		}
		for _, s := range sockets[1:] {
			eventually(t, "all client events arrive", func() bool { return s.count(room) == n })
			for i, e := range s.open[room].got {
				if e.id != fmt.Sprint(i) {
					t.Fatalf("event %d is %s", i, e.data)
				}
			}
		}
		if got := sockets[0].count(room); got != 0 {
			t.Errorf("the sender got %d of its own events", got)
		}
	})
	t.Run("US-06 an event to a user reaches its connections on all nodes", func(t *testing.T) {
		const user, channel = `{"id":"u-7"}`, "#server-to-user-u-7"
		for _, s := range sockets[:2] {
			s.say("signin", fmt.Sprintf(`{"auth":%q,"user_data":%q}`, a.Key+":"+pusher.SignUser(a.Secret.Reveal(), s.name(), user), user))
			s.subscribed(t, channel, "")
		}
		publish(t, c.nodes[2].sign(t, a), channel, `{"id":"note"}`)
		for _, s := range sockets[:2] {
			eventually(t, "the event arrives", func() bool { return s.count(channel) == 1 })
		}
		if sockets[2].count(channel) != 0 {
			t.Error("a stranger got it")
		}
	})
	for _, s := range sockets {
		s.mu.Lock()
		for _, err := range s.errs {
			t.Error(err)
		}
		s.mu.Unlock()
	}
}
