package hub

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/kv"
)

// unlisted is a table that cannot list seats. It calls meanwhile first.
type unlisted struct {
	kv.Table
	meanwhile atomic.Pointer[func()]
}

func (u *unlisted) List(ctx context.Context, pattern string) ([]kv.Record, error) {
	if f := u.meanwhile.Load(); f != nil && strings.HasPrefix(pattern, "seat.") {
		(*f)()
		return nil, kv.ErrUnavailable
	}
	return u.Table.List(ctx, pattern)
}

// TestTrust01RefusedChannelsCountNothing: before, events that arrived while the attach of a channel failed
// were counted in recent_bytes for ever, until no client was recovered from memory any more.
func TestTrust01RefusedChannelsCountNothing(t *testing.T) {
	table := &unlisted{Table: kv.NewMemoryTable(nil)}
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		a.Delta = app.Delta{}
		o.Herald = herald.New(herald.Options{Apps: app.NewRegistry(a), Node: "n1"})
		roster, err := presence.New(t.Context(), presence.Options{
			Table: table, Node: "n1", Tell: o.Herald.Tell,
			Members: func(channel string) bool { return pusher.KindOf(channel).Presence() },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { roster.Close(context.Background()) })
		o.Roster = roster
	})
	const channel, member = "presence-orders", `{"user_id":"ann"}`
	p, id := r.second()
	more := fmt.Sprintf(`,"channel_data":%q,"auth":"key:%s"`, member, pusher.SignChannel("secret", id, channel, member, true))
	bytes := func() int64 { return r.hub.library.Bytes.Load() }
	var came atomic.Bool
	meanwhile := func() {
		r.publish(channel, "e", `"`+strings.Repeat("x", 1000)+`"`)
		eventually(t, "the event is counted", func() bool { return bytes() > 1000 })
		came.Store(true)
	}
	table.meanwhile.Store(&meanwhile)
	for range 3 {
		came.Store(false)
		p.says("sockudo", subscribing(channel, more))
		p.hears("error")
		p.want("sockudo:subscription_error")
		if !came.Load() {
			t.Fatal("nothing came meanwhile")
		}
		eventually(t, "nothing is counted of a channel that nobody follows", func() bool { return bytes() == 0 })
	}
}
