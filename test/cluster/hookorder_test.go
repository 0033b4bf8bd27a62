package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// TestWeeks18WebhooksComeInOrder has users join and leave channels through all gateways at the same time.
// channel_occupied comes before any member_added or subscription_count, and channel_vacated after every
// member_removed.
func TestWeeks18WebhooksComeInOrder(t *testing.T) {
	for _, batch := range []bool{false, true} {
		t.Run(fmt.Sprintf("batches %v", batch), func(t *testing.T) {
			t.Parallel()
			hookOrder(t, batch)
		})
	}
}

func hookOrder(t *testing.T, batch bool) {
	const channels = 8
	hooks := listenHooks(t)
	a := everything("app")
	a.Webhooks = []app.Webhook{{URL: hooks.URL, Batch: batch, BatchTime: 20 * time.Millisecond, BatchSize: 50}}
	c := start(t, 3, settings{apps: []*app.App{a}, webhooks: webhook.Options{Grace: 5 * time.Second}})
	var peers []*peer
	for _, n := range c.nodes {
		peers = append(peers, n.connect(t, a))
	}
	each := func(do func(p *peer, i int)) {
		var all sync.WaitGroup
		for i, p := range peers {
			all.Go(func() { do(p, i) })
		}
		all.Wait()
	}
	asks := func(p *peer, i, ch int) (presence, room func()) {
		return func() { p.ask(fmt.Sprint("presence-", ch), user(fmt.Sprint("u", i))) }, func() { p.ask(fmt.Sprint("room-", ch), "") }
	}
	each(func(p *peer, i int) {
		for ch := range channels {
			presence, room := asks(p, i, ch)
			presence()
			room()
		}
	})
	for ch := range channels {
		for i, p := range peers {
			channel := fmt.Sprint("presence-", ch)
			presence, room := asks(p, i, ch)
			p.subscribed(channel, 0, 0, presence)
			p.subscribed(fmt.Sprint("room-", ch), 0, 0, room)
			eventually(t, "the member is told", func() bool { return hooks.count("member_added", channel, fmt.Sprint("u", i)) > 0 })
		}
	}
	each(func(p *peer, _ int) {
		for ch := range channels {
			p.unsubscribe(fmt.Sprint("presence-", ch))
			p.unsubscribe(fmt.Sprint("room-", ch))
		}
	})
	for ch := range channels {
		channel := fmt.Sprint("presence-", ch)
		eventually(t, "the channel is vacated", func() bool { return hooks.count("channel_vacated", channel, "") > 0 })
		eventually(t, "the room is vacated", func() bool { return hooks.count("channel_vacated", fmt.Sprint("room-", ch), "") > 0 })
		for i := range peers {
			eventually(t, "the member has left", func() bool { return hooks.count("member_removed", channel, fmt.Sprint("u", i)) > 0 })
		}
	}
	hooks.mu.Lock()
	defer hooks.mu.Unlock()
	for ch := range channels {
		channel := fmt.Sprint("presence-", ch)
		var got, room []string
		for _, what := range hooks.order {
			switch f := strings.Fields(what); f[1] {
			case channel:
				got = append(got, f[0])
			case fmt.Sprint("room-", ch):
				room = append(room, f[0])
			}
		}
		if first, counts, last := room[0], slices.Compact(room[1:len(room)-1]), room[len(room)-1]; first != "channel_occupied" ||
			!slices.Equal(counts, []string{"subscription_count"}) || last != "channel_vacated" {
			t.Errorf("room-%d: %v", ch, room)
		}
		want := "channel_occupied member_added member_added member_added member_removed member_removed member_removed channel_vacated"
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", channel, got)
		}
	}
}
