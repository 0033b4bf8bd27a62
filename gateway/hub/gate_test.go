package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/turns"
)

// heldFeed attaches channels whose names begin with "held" only once release is closed.
type heldFeed struct {
	broker.Feed
	release chan struct{}
}

func (f *heldFeed) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if strings.HasPrefix(channel, "held") {
		select {
		case <-f.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return f.Feed.Attach(ctx, app, channel, sink)
}

// TestTrust11SubscriptionsWaitForTheirTurn: while all places for attaching are taken, attached channels can
// be subscribed to, and other subscriptions wait for their turn.
func TestTrust11SubscriptionsWaitForTheirTurn(t *testing.T) {
	log := newMemory(t, "app")
	defer log.Close()
	feed := &heldFeed{Feed: log, release: make(chan struct{})}
	r := newRig(t, func(o *Options, _ *appT) { o.Feed, o.Attaching = feed, 2 })
	r.hub.gate.Stale = time.Hour
	r.subscribed("followed", false)
	held := make([]*peer, 5)
	for i := range held {
		held[i], _ = r.connect()
		held[i].say(`{"event":"pusher:subscribe","data":{"channel":"held-%d"}}`, i)
	}
	waiting := func() float64 {
		return metricValue(t, r.registry, "sockudo_subscriptions_waiting", nil)
	}
	eventually(t, "three of them wait", func() bool { return waiting() == 3 })
	r.subscribed("followed", false)
	close(feed.release)
	for i, p := range held {
		if m := p.want("pusher_internal:subscription_succeeded"); m.Channel != fmt.Sprint("held-", i) {
			t.Errorf("got %s", m.text)
		}
	}
	if n := waiting(); n != 0 {
		t.Errorf("%v wait", n)
	}
}

// TestWeeks15ASignatureIsInTimeHoweverSlowTheLog: a client that sent its signature in time is not closed
// because the log is slow or unavailable.
func TestWeeks15ASignatureIsInTimeHoweverSlowTheLog(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("fails %v", fails), func(t *testing.T) {
			log := newMemory(t, "app")
			defer log.Close()
			feed := &asked{Feed: log, came: make(chan struct{}), answer: make(chan error)}
			r := newRig(t, func(o *Options, a *appT) { o.Feed, o.AttachTimeout, a.AuthTimeout = feed, time.Hour, time.Second })
			p, id := r.connect()
			p.say(`{"event":"pusher:subscribe","data":{"channel":"private-c","auth":%q}}`, "key:"+pusher.SignChannel("secret", id, "private-c", "", false))
			<-feed.came
			pass := func() {
				r.clock.Add(int64(2 * time.Second))
				r.hub.sweep(r.hub.opt.Now())
			}
			pass()
			if fails {
				feed.answer <- broker.ErrUnavailable
				p.want("pusher:error")
				p.want("pusher:subscription_error")
				pass()
				p.usable() // and may subscribe again
				return
			}
			feed.answer <- nil
			p.want("pusher_internal:subscription_succeeded")
			pass()
			p.usable()
		})
	}
}

// asked is a feed that reports each attach, and then attaches or fails as told.
type asked struct {
	broker.Feed
	came   chan struct{}
	answer chan error
}

func (f *asked) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	f.came <- struct{}{}
	if err := <-f.answer; err != nil {
		return nil, err
	}
	return f.Feed.Attach(ctx, app, channel, sink)
}

func TestTrust11AWaitForATurnEnds(t *testing.T) {
	// With a negative number of places nobody gets one.
	r := newRig(t, func(o *Options, _ *appT) { o.AttachTimeout, o.Attaching = 100*time.Millisecond, -1 })
	p, _ := r.connect()
	p.say(`{"event":"pusher:subscribe","data":{"channel":"c"}}`)
	p.want("pusher:error")
	if m := p.want("pusher:subscription_error"); m.Channel != "c" || !strings.Contains(m.str(), `"status":503`) {
		t.Errorf("got %s", m.text)
	}
	if n := r.limited("attaching"); n != 1 {
		t.Errorf("%v waits ended", n)
	}
	if _, err := r.hub.follows(r.app, "c", new(turns.Asker)); !errors.Is(err, errBusy) {
		t.Errorf("got %v", err)
	}
	p.usable()
}

// TestTrust11ChannelsThatWereLeftHaveABound: channels without subscribers are kept for a moment, but not more
// than maxIdle of them.
func TestTrust11ChannelsThatWereLeftHaveABound(t *testing.T) {
	r := newRig(t, func(o *Options, _ *appT) { o.SubscriptionRate, o.MessageRate = 0, 0 })
	p, _ := r.connect()
	const more = 300
	for i := 0; i < maxIdle+more; i += 100 {
		var all bytes.Buffer
		for k := i; k < i+100; k++ {
			all.Write(masked(websocket.Text, fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"channel":"c-%d"}}`, k)))
			all.Write(masked(websocket.Text, fmt.Appendf(nil, `{"event":"pusher:unsubscribe","data":{"channel":"c-%d"}}`, k)))
		}
		p.raw(all.Bytes())
		for range 100 {
			p.want("pusher_internal:subscription_succeeded")
		}
	}
	p.usable()
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if len(r.hub.idle) != maxIdle || len(r.hub.channels) != maxIdle {
		t.Errorf("%d channels are kept, %d in all; want %d", len(r.hub.idle), len(r.hub.channels), maxIdle)
	}
}

// TestTrust11ClientsAreKnownByTheirNetworks: a client is identified by the network that Options.Network
// returns for its address.
func TestTrust11ClientsAreKnownByTheirNetworks(t *testing.T) {
	network := netip.MustParseAddr("192.0.2.0")
	r := newRig(t, func(o *Options, _ *appT) {
		o.Network = func(a netip.Addr) netip.Addr {
			if !a.IsLoopback() {
				t.Errorf("asked for %v", a)
			}
			return network
		}
	})
	p, id := r.connect()
	if got := r.hub.find(id).asks.Address; got != network {
		t.Errorf("the client is %v", got)
	}
	p.usable()
}

// TestTrust11LongRequestsCountMore: a long message uses up more of the rate than a short one.
func TestTrust11LongRequestsCountMore(t *testing.T) {
	for size, waits := range map[int]bool{10: false, 5 * longRequest: true} {
		// Ten short ones fit, but only two long ones. A further long one waits, unless each takes seconds.
		r := paced(t, 2, 10)
		p, _ := r.connect()
		for i := 0; i < 10 && r.limited("subscription_rate") == 0; i++ {
			p.say(`{"event":"pusher:subscribe","data":{"channel":"c-%d","more":%q}}`, i, strings.Repeat("x", size))
			p.want("pusher_internal:subscription_succeeded")
		}
		if n := r.limited("subscription_rate"); n > 0 != waits {
			t.Errorf("with %d bytes more each it was made to wait %v times", size, n)
		}
	}
}
