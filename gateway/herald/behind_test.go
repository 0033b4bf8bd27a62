package herald

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/kv"
)

// slowSeats is a table that is slow to store seats.
type slowSeats struct {
	kv.Table
	takes time.Duration
}

func (s slowSeats) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	if strings.HasPrefix(key, "seat.") {
		<-time.After(s.takes)
	}
	return s.Table.Put(ctx, key, value, ttl)
}

// rollOf returns the roll of a channel on a gateway of its own, with hooks for webhooks.
func rollOf(t *testing.T, table kv.Table, node, channel string, hooks Hooks) *Roll {
	t.Helper()
	a := &app.App{ID: "shop"}
	told := New(Options{Apps: app.NewRegistry(a), Hooks: hooks, Node: node})
	roster, err := presence.New(t.Context(), presence.Options{
		Table: table, Node: node, Tell: told.Tell, Members: func(channel string) bool { return pusher.KindOf(channel).Presence() },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := told.Roll(roster, a, channel, listener{make(chan string, 16)})
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		roster.Close(ctx)
	})
	return r
}

// arrive begins a subscription, without waiting until others know.
func arrive(t *testing.T, r *Roll, user string) {
	t.Helper()
	if pusher.KindOf(r.channel).Presence() {
		if err := r.Join(t.Context(), user, nil, 10); err != nil {
			t.Fatal(err)
		}
	}
	r.Count(1)
}

// TestWhatASubscriberCausesIsToldOnceItsChannelIsOccupied: a new subscriber sends an event or meets an empty
// cache, while its gateway still writes the seat, or while another gateway has not yet told that the channel
// is occupied. The webhook of the event comes after channel_occupied.
func TestWhatASubscriberCausesIsToldOnceItsChannelIsOccupied(t *testing.T) {
	const soon, never = 100 * time.Millisecond, time.Hour
	for _, c := range []struct {
		about, channel string
		elsewhere      bool
		takes          time.Duration
		want           string
	}{
		{"the first one", "private-a", false, soon, webhook.ChannelOccupied + " "},
		{"the first member", "presence-a", false, soon, webhook.ChannelOccupied + " " + webhook.MemberAdded + " "},
		{"the second one", "private-a", true, soon, webhook.ChannelOccupied + " "},
		{"the second member", "presence-a", true, soon, webhook.ChannelOccupied + " " + webhook.MemberAdded + " "},
		{"the table is out of reach", "private-a", false, never, ""},
	} {
		for cause, tell := range map[string]func(context.Context, *Roll){
			webhook.ClientEvent: func(ctx context.Context, r *Roll) {
				r.ClientEvent(ctx, "1.1", &broker.Event{Name: "client-a"}, broker.Receipt{Position: broker.Position{Offset: 1}})
			},
			webhook.CacheMiss: func(ctx context.Context, r *Roll) { r.Missed(ctx, "e", 0) },
		} {
			t.Run(c.about+" "+cause, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					table := kv.NewMemoryTable(nil)
					told := &queue{}
					here := rollOf(t, slowSeats{table, c.takes}, "n1", c.channel, told)
					if c.elsewhere {
						arrive(t, rollOf(t, table, "n2", c.channel, &queue{}), "ben")
						synctest.Wait()
					}
					arrive(t, here, "ann")
					tell(t.Context(), here)
					var got string
					for _, name := range told.names() {
						got += strings.Fields(name)[0] + " "
					}
					if diff := cmp.Diff(c.want+cause+" ", got); diff != "" {
						t.Errorf("the application was told (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}
