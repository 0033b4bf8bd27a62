package hub

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// signedIn connects a client and signs it in as a user.
func (r *rig) signedIn(id string) *peer {
	r.t.Helper()
	p, socket := r.connect()
	user := `{"id":"` + id + `"}`
	p.say(`{"event":"pusher:signin","data":{"auth":"key:%s","user_data":%q}}`, pusher.SignUser("secret", socket, user), user)
	p.want("pusher:signin_success")
	return p
}

// TestTrust04OrdersAreOutOfReach: no event in the log of an app works as an order, whatever its name, channel
// and origin.
func TestTrust04OrdersAreOutOfReach(t *testing.T) {
	r := newRig(t, func(_ *Options, a *app.App) { a.UserAuth = true })
	victim, other := r.signedIn("victim"), r.signedIn("other")
	var heard, said atomic.Int64
	for _, channel := range []string{"#sluice-orders", "app", broker.GatewaysApp, broker.GatewaysApp + ".app", "#server-to-user-victim"} {
		// The hub's own sinks were attached earlier, so they have had what this one gets.
		at, err := r.log.Attach(t.Context(), "app", channel, countingSink{&heard})
		if err != nil {
			t.Fatal(err)
		}
		defer at.Detach()
		for _, name := range []string{"sluice_internal:order", "message", "terminate"} {
			for _, origin := range []broker.Origin{broker.OriginRaw, broker.OriginHTTP, broker.OriginClient} {
				r.publish(channel, name, `{"terminate":"victim"}`, func(e *broker.Event) { e.Origin, e.Node = origin, "gateway" })
				said.Add(1)
			}
		}
	}
	eventually(t, "everything was heard", func() bool { return heard.Load() == said.Load() })
	for _, name := range []string{"sluice_internal:order", "message", "terminate"} {
		for range 3 { // An event on the user's own channel is an ordinary event.
			victim.want(name)
		}
	}
	victim.usable()
	if err := r.hub.Terminate(t.Context(), r.app, "victim"); err != nil {
		t.Fatal(err)
	}
	if code := victim.closed(); code != int(pusher.CloseNotAuthorized) {
		t.Errorf("the victim was closed with %d", code)
	}
	other.usable()
}

// countingSink counts the publications it is given.
type countingSink struct{ n *atomic.Int64 }

func (s countingSink) Publication(*broker.Publication) { s.n.Add(1) }
func (countingSink) Gap(broker.Gap)                    {}

// failingFeed fails to attach until mended is set.
type failingFeed struct {
	broker.Feed
	mended atomic.Bool
	err    error // returned by Attach; nil for "poisoned"
}

func (f *failingFeed) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if !f.mended.Load() {
		return nil, cmp.Or(f.err, errors.New("poisoned"))
	}
	return f.Feed.Attach(ctx, app, channel, sink)
}

// TestTrust07OrdersThatCannotBeFollowedStopNoStart: the gateway starts without its orders and reports the
// problem. Later it carries out the orders given meanwhile, but not against connections that are newer than
// the order.
func TestTrust07OrdersThatCannotBeFollowedStopNoStart(t *testing.T) {
	feed := &failingFeed{}
	log := newMemory(t, "app")
	t.Cleanup(func() { _ = log.Close() })
	feed.Feed = log
	r := newRig(t, func(o *Options, a *app.App) {
		a.UserAuth = true
		o.Feed, o.Publisher, o.History, o.LogTime = feed, log, log, log.Now
	})
	victim := r.signedIn("victim")
	if got := strings.Join(r.hub.Problems(), "\n"); !strings.Contains(got, "orders for the app app are not followed: poisoned") {
		t.Errorf("problems are %q", got)
	}
	if err := r.hub.Terminate(t.Context(), r.app, "victim"); err != nil {
		t.Fatal(err)
	}
	later := r.signedIn("victim")
	feed.mended.Store(true)
	if code := victim.closed(); code != int(pusher.CloseNotAuthorized) {
		t.Errorf("the victim was closed with %d", code)
	}
	eventually(t, "orders are followed", func() bool { return len(r.hub.Problems()) == 0 })
	later.usable()
}
