package hub

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestTime08WhoIsRefusedForTheMomentComesAnew: stock libraries keep a refused channel as one with a pending
// request, and never request it again on the same connection. So a refusal for a temporary reason ends the
// connection of such a client: some time after the refusal was sent, with a code that makes it reconnect. A
// permanent refusal ends no connection, and neither does any refusal of a client that requests the channel
// again by itself.
func TestTime08WhoIsRefusedForTheMomentComesAnew(t *testing.T) {
	const v1, v2, goes = "/app/key?protocol=7&client=js", "/app/key?protocol=2&client=js", "/app/key?protocol=7&client=sluice-go"
	user := func(p *peer, socket string) {
		p.say(`{"event":"pusher:signin","data":{"auth":"key:%s","user_data":%q}}`, pusher.SignUser("secret", socket, `{"id":"u"}`), `{"id":"u"}`)
		p.want("pusher:signin_success")
	}
	usable := func(p *peer) {
		p.say(`{"event":"pusher:ping","data":{}}`)
		if m := p.next(); !strings.HasSuffix(m.Event, ":pong") {
			t.Errorf("got %s", m.text)
		}
	}
	subscribe := func(members string) func(*peer, string) {
		return func(p *peer, _ string) {
			p.say(`{"event":"pusher:subscribe","data":{"channel":%s}}`, members)
			if m := p.next(); !strings.HasSuffix(m.Event, ":error") {
				t.Errorf("got %s", m.text)
			}
			if m := p.next(); !strings.HasSuffix(m.Event, ":subscription_error") {
				t.Errorf("got %s", m.text)
			}
		}
	}
	away := fmt.Errorf("%w: no leader", broker.ErrUnavailable)
	for _, c := range []struct {
		name, path string
		err        error
		scarce     bool
		mends      bool // the log answers a moment later, and the client asks again
		ask        func(p *peer, socket string)
		ends       bool
	}{
		{name: "a channel on V1", path: v1, err: away, ask: subscribe(`"orders"`), ends: true},
		{name: "a channel on V2", path: v2, err: away, ask: subscribe(`"orders"`), ends: true},
		{name: "a client that asked again and got it", path: v1, err: away, mends: true, ask: subscribe(`"orders"`)},
		{name: "the channel of a user", path: v1, err: away, ask: user, ends: true},
		{name: "a client that resumes by itself", path: v2, err: away, ask: subscribe(`"orders","resumes":true`)},
		{name: "the Go client", path: goes, err: away, ask: subscribe(`"orders"`)},
		{name: "an app that the log does not know", path: v1, err: broker.ErrUnknownApp, ask: subscribe(`"orders"`)},
		{name: "memory is scarce", path: v1, scarce: true, ask: subscribe(`"orders"`)},
		{name: "a wrong signature", path: v1, err: away, ask: subscribe(`"private-orders","auth":"key:00"`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			feed := &failingFeed{err: c.err}
			var scarce atomic.Bool
			r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
				feed.Feed, o.Feed, a.UserAuth, o.Scarce = o.Feed, feed, true, scarce.Load
			})
			scarce.Store(c.scarce)
			p := r.dial(c.path)
			socket := established(t, p.next())
			c.ask(p, socket)
			if c.mends {
				feed.mended.Store(true)
				p.say(`{"event":"pusher:subscribe","data":{"channel":"orders"}}`)
				p.want("pusher_internal:subscription_succeeded")
			}
			at := r.hub.opt.Now()
			r.hub.sweep(at.Add(time.Second))
			usable(p)
			r.hub.sweep(at.Add(11 * time.Second))
			if !c.ends {
				usable(p)
				return
			}
			if m := p.next(); !strings.HasSuffix(m.Event, ":error") || !strings.Contains(m.text, "4100") {
				t.Errorf("got %s", m.text)
			}
			if code := p.closed(); code != 4100 || p.reason != reasonAnew {
				t.Errorf("closed with %d %s", code, p.reason)
			}
		})
	}
}
