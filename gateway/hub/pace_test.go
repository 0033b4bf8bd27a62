package hub

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

func paced(t *testing.T, rate, channels int) *rig {
	return newRig(t, func(o *Options, a *appT) {
		o.SubscriptionRate, o.MessageRate, o.MaxSubscriptions = rate, 4*rate, channels
		a.ClientEvents, a.ClientEventRate = true, 10
	})
}

// limited returns how often a limit was crossed or made a connection wait.
func (r *rig) limited(limit string) float64 {
	return metricValue(r.t, r.registry, "sockudo_limits_total", map[string]string{"limit": limit})
}

// TestTrust11ReconnectWithManyChannels: a client that reconnects with as many channels as it may have gets
// all of them without waiting.
func TestTrust11ReconnectWithManyChannels(t *testing.T) {
	r := paced(t, 50, 1000)
	p, _ := r.connect()
	var all []byte
	for i := range 1000 {
		all = append(all, masked(websocket.Text, fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"channel":"c-%d"}}`, i))...)
	}
	p.raw(all)
	for i := range 1000 {
		if m := p.want("pusher_internal:subscription_succeeded"); m.Channel != fmt.Sprintf("c-%d", i) {
			t.Fatalf("got %s at %d", m.text, i)
		}
	}
	for _, limit := range []string{"subscription_rate", "message_rate"} {
		if n := r.limited(limit); n != 0 {
			t.Errorf("%s made it wait %v times", limit, n)
		}
	}
}

// TestTrust09LongMessagesTakeTurns: only so many long messages are parsed at a time. A further one waits, and
// no other connection does.
func TestTrust09LongMessagesTakeTurns(t *testing.T) {
	r := newRig(t, func(o *Options, _ *appT) { o.Filters = true })
	for range cap(r.hub.long) {
		r.hub.long <- struct{}{}
	}
	p, _ := r.connect()
	p.say(`{"event":"pusher:subscribe","data":{"channel":"c","filter":{"key":"k","cmp":"ex"},"x":"%s"}}`, strings.Repeat("x", longRequest))
	p.say(`{"event":"pusher:ping","data":{}}`)
	other, _ := r.connect()
	for range 100 {
		other.say(`{"event":"pusher:ping","data":{}}`)
		other.want("pusher:pong")
	}
	if len(p.frames) > 0 {
		t.Errorf("the long message was not waited with: got %s", p.next().text)
	}
	for range cap(r.hub.long) {
		<-r.hub.long
	}
	p.want("pusher_internal:subscription_succeeded")
	p.want("pusher:pong")
}

// TestTrust11RatesOfOneConnection: requests above the rate wait, and none is lost.
func TestTrust11RatesOfOneConnection(t *testing.T) {
	const rate, channels, n = 10, 10, 15
	for _, c := range []struct{ name, first, second, limit string }{
		{"subscribing in turns", `{"event":"pusher:subscribe","data":{"channel":"c"}}`, `{"event":"pusher:unsubscribe","data":{"channel":"c"}}`, "subscription_rate"},
		{"subscribing again", `{"event":"pusher:subscribe","data":{"channel":"c"}}`, `{"event":"pusher:subscribe","data":{"channel":"c"}}`, "subscription_rate"},
		{"refused subscriptions", `{"event":"pusher:subscribe","data":{"channel":"private-c","auth":"key:x"}}`, `{"event":"pusher:subscribe","data":{"channel":"private-d"}}`, "subscription_rate"},
		{"sign-ins", `{"event":"pusher:signin","data":{"auth":"key:x","user_data":"{}"}}`, `{"event":"pusher:signin","data":{}}`, "subscription_rate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := paced(t, rate, channels)
			p, _ := r.connect()
			r.untilLimited(c.limit, func() {
				began := time.Now()
				for range n {
					p.say("%s", c.first)
					p.say("%s", c.second)
				}
				p.say(`{"event":"pusher:ping","data":{}}`)
				for m := p.next(); m.Event != "pusher:pong"; m = p.next() {
					if strings.Contains(m.text, "LimitReached") {
						t.Fatalf("refused: %s", m.text)
					}
				}
				// Waiting has a lower bound, however slow the machine is.
				if took, least := time.Since(began), time.Second*(2*n-rate-channels)/rate; took < least*9/10 {
					t.Errorf("%d requests took %v, want at least %v", 2*n, took, least)
				}
			})
		})
	}
}

// untilLimited repeats flood until a limit has made the connection wait: on a machine slower than the rate, a
// flood may not reach the limit.
func (r *rig) untilLimited(limit string, flood func()) {
	r.t.Helper()
	for end := time.Now().Add(patience); r.limited(limit) == 0; flood() {
		if time.Now().After(end) {
			r.t.Fatalf("nothing is counted as %s", limit)
		}
	}
}

func TestTrust11FloodsOfFrames(t *testing.T) {
	const rate, channels, n = 5, 10, 60
	for name, f := range map[string][]byte{
		"pings of the protocol": masked(websocket.Text, []byte(`{"event":"pusher:ping","data":{}}`)),
		"ping frames":           masked(websocket.Ping, nil),
		"pong frames":           masked(websocket.Pong, nil),
		"empty fragments":       append(withFirst(0x01, masked(websocket.Text, nil)), withFirst(0x80, masked(websocket.Text, nil))...),
		"nonsense":              masked(websocket.Text, []byte(`x`)),
		"client events":         masked(websocket.Text, []byte(`{"event":"client-x","channel":"private-c","data":{}}`)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := paced(t, rate, channels)
			p, _ := r.connect()
			r.untilLimited("message_rate", func() {
				began := time.Now()
				for range n {
					p.raw(f)
				}
				p.say(`{"event":"pusher:subscribe","data":{"channel":"last"}}`)
				for f := p.frame(); !strings.Contains(f.payload, "subscription_succeeded"); f = p.frame() {
				}
				const perSecond = 4*rate + 10
				if took, least := time.Since(began), time.Second*(n-perSecond-channels)/perSecond; took < least*9/10 {
					t.Errorf("%d frames took %v, want at least %v", n, took, least)
				}
			})
		})
	}
}

// TestTrust11WaitingEndsWithTheHub: a connection that waits does not delay the close of the hub.
func TestTrust11WaitingEndsWithTheHub(t *testing.T) {
	r := paced(t, 1, 1)
	p, _ := r.connect()
	for range 40 {
		p.say(`{"event":"pusher:unsubscribe","data":{"channel":"c"}}`)
	}
	eventually(t, "it waits", func() bool { return r.limited("subscription_rate") > 0 })
}

// TestTime04RequestsTakeTurns: a subscription waits for its turn, and pings do not.
func TestTime04RequestsTakeTurns(t *testing.T) {
	asked, turn := make(chan netip.Addr), make(chan struct{})
	r := newRig(t, func(o *Options, _ *appT) {
		o.Turn = func(_ context.Context, client netip.Addr) error {
			asked <- client
			<-turn
			return nil
		}
	})
	p, _ := r.connect()
	p.say(`{"event":"pusher:ping","data":{}}`)
	p.want("pusher:pong")
	p.say(`{"event":"pusher:subscribe","data":{"channel":"c"}}`)
	if client := <-asked; !client.IsValid() {
		t.Error("it is not known who asks")
	}
	other, _ := r.connect()
	other.say(`{"event":"pusher:ping","data":{}}`)
	other.want("pusher:pong")
	turn <- struct{}{}
	p.want("pusher_internal:subscription_succeeded")
}

// TestTime04WhoWaitsIsNotSilent: a client whose request waits for a turn cannot show a sign of life or have
// its signature checked meanwhile. It is closed for neither.
func TestTime04WhoWaitsIsNotSilent(t *testing.T) {
	asked, turn := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(o *Options, a *appT) {
		a.AuthTimeout = time.Minute
		o.Turn = func(context.Context, netip.Addr) error {
			asked <- struct{}{}
			<-turn
			return nil
		}
	})
	pass := func(d time.Duration) {
		r.clock.Add(int64(d))
		r.hub.sweep(r.hub.opt.Now())
	}
	p, id := r.connect()
	p.say(`{"event":"pusher:subscribe","data":{"channel":"private-c","auth":%q}}`, "key:"+pusher.SignChannel("secret", id, "private-c", "", false))
	<-asked
	for range 5 {
		pass(time.Hour)
	}
	turn <- struct{}{}
	p.want("pusher_internal:subscription_succeeded")
	pass(119 * time.Second)
	p.usable()
	pass(121 * time.Second)
	p.askedForLife()
}

// TestTime04AHoldEndsWhileRequestsWait: a subscription waits for a resume only for its own limit, however
// long other requests of the client wait.
func TestTime04AHoldEndsWhileRequestsWait(t *testing.T) {
	asked, turn := make(chan struct{}), make(chan struct{})
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) {
		o.Turn = func(context.Context, netip.Addr) error {
			asked <- struct{}{}
			<-turn
			return nil
		}
	})
	p, id := r.second()
	p.say(`{"event":"sockudo:subscribe","data":{"channel":"c"}}`)
	p.say(`{"event":"sockudo:subscribe","data":{"channel":"d"}}`)
	<-asked
	turn <- struct{}{}
	p.want("sockudo_internal:subscription_succeeded")
	<-asked // for d, while c is held
	r.publish("c", "told", `1`)
	r.hub.find(id).patient(time.Now().Add(past.HoldAge))
	p.want("told")
	close(turn)
	p.want("sockudo_internal:subscription_succeeded")
}
