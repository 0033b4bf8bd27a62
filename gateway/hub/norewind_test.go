package hub

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
)

// deadHistory cannot be read while dead is set.
type deadHistory struct {
	broker.History
	dead atomic.Bool
}

func (h *deadHistory) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	if h.dead.Load() {
		return nil, broker.ErrUnavailable
	}
	return h.History.Read(ctx, app, channel, q)
}

// deadRig returns a rig with a roster, and a history that can be made unreadable.
func deadRig(t *testing.T) (*rig, *deadHistory, *presence.Roster) {
	h := &deadHistory{}
	var roster *presence.Roster
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		h.History, o.History = o.History, h
		o.Filters = true
		a.ClientEvents, a.ClientEventRate = true, 100
		o.Herald = herald.New(herald.Options{Apps: app.NewRegistry(a), Node: "n1"})
		var err error
		roster, err = presence.New(t.Context(), presence.Options{
			Table: kv.NewMemoryTable(nil), Node: "n1", Tell: o.Herald.Tell,
			Members: func(channel string) bool { return pusher.KindOf(channel).Presence() },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { roster.Close(context.Background()) })
		o.Roster = roster
	})
	return r, h, roster
}

// TestTime05ARewindThatCannotBeReadIsNoSubscription: a subscription whose rewind cannot be read is refused
// and leaves nothing in the channel, neither a member nor a count. Once the history can be read, it succeeds
// like any other.
func TestTime05ARewindThatCannotBeReadIsNoSubscription(t *testing.T) {
	for _, channel := range []string{"orders", "private-orders", "presence-orders"} {
		t.Run(channel, func(t *testing.T) {
			r, h, roster := deadRig(t)
			r.publishMany(channel, 1, 2)
			p, id := r.second()
			more := ""
			if channel == "presence-orders" {
				member := `{"user_id":"ann"}`
				more = fmt.Sprintf(`,"channel_data":%q,"auth":"key:%s"`, member, pusher.SignChannel("secret", id, channel, member, true))
			} else if channel != "orders" {
				more = fmt.Sprintf(`,"auth":"key:%s"`, pusher.SignChannel("secret", id, channel, "", false))
			}
			h.dead.Store(true)
			for range 2 {
				p.says("sockudo", subscribing(channel, more+`,"rewind":5`))
				p.hears("error")
				if m := p.want("sockudo:subscription_error"); m.Channel != channel || !strings.Contains(m.str(), `"status":503`) {
					t.Errorf("got %s", m.text)
				}
			}
			eventually(t, "nobody is in the channel", func() bool {
				users, err := roster.Users(t.Context(), "app", channel)
				n, err2 := roster.Count(t.Context(), "app", channel)
				return err == nil && err2 == nil && len(users) == 0 && n.Subscriptions == 0
			})
			if channel != "orders" {
				p.say(`{"event":"client-typing","channel":%q,"data":{}}`, channel)
				p.hears("error")
			}
			p.says("sockudo", [2]string{"channel_history", fmt.Sprintf(`{"channel":%q,"until_attach":true}`, channel)})
			p.hears("error")
			r.publishMany(channel, 3, 3)
			p.alive()
			h.dead.Store(false)
			p.says("sockudo", subscribing(channel, more+`,"rewind":2`))
			p.hears("success", "2", "3", "rewind_complete")
			r.publish(channel, "tick", "live")
			p.hears("live")
		})
	}
	t.Run("one that was there before goes on as it was", func(t *testing.T) {
		r, h, _ := deadRig(t)
		tagged := func(kind string) func(*broker.Event) {
			return func(e *broker.Event) { e.Tags = map[string]string{"kind": kind} }
		}
		filter := func(kind string) string { return fmt.Sprintf(`,"filter":{"key":"kind","cmp":"eq","val":%q}`, kind) }
		p, id := r.second()
		p.says("sockudo", subscribing("orders", filter("a")))
		p.hears("success")
		r.hub.find(id).letGo()
		eventually(t, "it is live", func() bool { return r.hub.Catching() == 0 })
		h.dead.Store(true)
		p.says("sockudo", subscribing("orders", filter("b")+`,"delta":false,"rewind":5`))
		p.hears("error", "subscription_error")
		p.says("sockudo", [2]string{"enable_delta_compression", `{"algorithms":["fossil"]}`})
		p.hears("delta_compression_enabled")
		p.alive() // the answer comes first, and then its subscriptions take part
		r.publish("orders", "tick", "1", tagged("b"))
		r.publish("orders", "tick", tick(2), tagged("a"))
		if m := p.want("tick"); m.Sequence == nil {
			t.Errorf("it takes no part in delta compression, as the refused request said: %s", m.text)
		}
		h.dead.Store(false)
		p.says("sockudo", subscribing("orders", filter("b")+`,"rewind":5`))
		p.hears("success", "1", "rewind_complete")
		p.alive()
	})
}
