package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestSubscribing(t *testing.T) {
	r := newRig(t, nil)
	t.Run("SUB-01 SUB-04 a public channel is granted", func(t *testing.T) {
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":"orders"}}`)
		got := p.next().text
		if want := `{"event":"pusher_internal:subscription_succeeded","channel":"orders","data":"{}"}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("SUB-02 SUB-03 EV-02 an event follows with its data unchanged", func(t *testing.T) {
		p := r.subscribed("plain", false)
		r.publish("plain", "made", `{"a": "ü\n\"<", "n": 1.50}`)
		want := `{"event":"made","channel":"plain","data":"{\"a\": \"ü\\n\\\"<\", \"n\": 1.50}"}`
		if got := p.next().text; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("SUB-05 SUB-06 subscribing again answers again and delivers once", func(t *testing.T) {
		p := r.subscribed("twice", false)
		p.subscribe("twice")
		r.publish("twice", "one", `1`)
		p.want("one")
		p.usable()
	})
	t.Run("SUB-07 SUB-08 unsubscribing is silent and ends delivery", func(t *testing.T) {
		p := r.subscribed("leave", false)
		p.say(`{"event":"pusher:unsubscribe","data":{"channel":"leave"}}`)
		p.say(`{"event":"pusher:unsubscribe","data":{"channel":"never-joined"}}`)
		p.usable()
		r.publish("leave", "late", `1`)
		p.subscribe("after")
		r.publish("after", "marker", `1`)
		p.want("marker")
	})
	t.Run("SUB-10 several hundred subscriptions each get their event once", func(t *testing.T) {
		p, _ := r.connect()
		const n = 300
		for i := range n {
			p.subscribe(fmt.Sprint("many-", i))
		}
		for i := range n {
			r.publish(fmt.Sprint("many-", i), "tick", fmt.Sprint(i))
		}
		seen := map[string]int{}
		for range n {
			seen[p.want("tick").Channel]++
		}
		if len(seen) != n {
			t.Errorf("got events of %d channels, want %d", len(seen), n)
		}
		p.usable()
	})
	for _, name := range []string{"*", ">", "a b", "a/b", "ticker:*", "x#y", "né", strings.Repeat("x", 201), ""} {
		t.Run("CH-02 CH-03 CH-10 is refused: "+name, func(t *testing.T) {
			p, _ := r.connect()
			p.say(`{"event":"pusher:subscribe","data":{"channel":%q}}`, name)
			p.want("pusher:error")
			m := p.want("pusher:subscription_error")
			if m.Channel != name || !strings.Contains(m.text, `"channel":`) || !strings.Contains(m.str(), `"type":"InvalidChannel"`) || !strings.Contains(m.str(), `"status":400`) {
				t.Errorf("got %s", m.text)
			}
			p.usable()
		})
	}
	for _, name := range []string{"a..b", "a.b", "ticker:AAPL", ".", "=", "=2E", "A-Z_a=@,.;:9", strings.Repeat("x", 200)} {
		t.Run("CH-01 is a channel of its own: "+name, func(t *testing.T) {
			if err := pusher.CheckChannel(name, 200); err != nil {
				t.Fatal(err)
			}
			p := r.subscribed(name, false)
			r.publish(name, "here", `1`)
			if m := p.want("here"); m.Channel != name {
				t.Errorf("got channel %q", m.Channel)
			}
		})
	}
}

func TestAuthorization(t *testing.T) {
	r := newRig(t, nil)
	for _, channel := range []string{"private-a", "private-cache-a", "private-encrypted-a", "private-encrypted-cache-a"} {
		p, id := r.connect()
		p.subscribe("open")
		right := "key:" + pusher.SignChannel("secret", id, channel, "", false)
		for name, auth := range map[string]string{
			"AUTH-04 missing":          "",
			"AUTH-09 garbage":          "garbage",
			"AUTH-05 another secret":   "key:" + pusher.SignChannel("other", id, channel, "", false),
			"AUTH-06 another key":      strings.Replace(right, "key:", "off-key:", 1),
			"AUTH-07 another socket":   "key:" + pusher.SignChannel("secret", "1.2", channel, "", false),
			"AUTH-08 another channel":  "key:" + pusher.SignChannel("secret", id, channel+"b", "", false),
			"AUTH-03 wrong signature":  right[:len(right)-1] + "x",
			"a signature in capitals":  strings.ToUpper(right),
			"the signature only":       right[4:],
			"a signature with a space": right + " ",
		} {
			t.Run(name+" refuses "+channel, func(t *testing.T) {
				p.say(`{"event":"pusher:subscribe","data":{"auth":%q,"channel":%q}}`, auth, channel)
				if m := p.want("pusher:error"); !strings.Contains(m.text, `"code":4009`) {
					t.Errorf("got %s", m.text)
				}
				if m := p.want("pusher:subscription_error"); m.Channel != channel || !strings.Contains(m.str(), `"status":401`) {
					t.Errorf("got %s", m.text)
				}
			})
		}
		t.Run("AUTH-12 other subscriptions live on after refusals of "+channel, func(t *testing.T) {
			r.publish(channel, "secret", `1`)
			last := r.publish("open", "public", `1`)
			p.want("public")
			r.settled("open", last.Offset) // so that the next subscriber does not get it live
		})
		t.Run("AUTH-02 the right signature opens "+channel, func(t *testing.T) {
			p.say(`{"event":"pusher:subscribe","data":{"auth":%q,"channel":%q}}`, right, channel)
			p.want("pusher_internal:subscription_succeeded")
			r.publish(channel, "secret", `1`)
			p.want("secret")
		})
	}
	t.Run("US-05 a server-to-user channel needs a sign-in", func(t *testing.T) {
		p, _ := r.connect()
		p.say(`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-1"}}`)
		p.want("pusher:error")
		p.want("pusher:subscription_error")
	})
}

func TestExclusion(t *testing.T) {
	r := newRig(t, nil)
	a, id := r.connect()
	a.subscribe("room")
	b := r.subscribed("room", false)
	r.publish("room", "one", `1`, func(e *broker.Event) { e.ExcludeSocket = id })
	r.publish("room", "two", `2`)
	b.want("one")
	b.want("two")
	a.want("two")
}

// brokenFeed fails to attach while broken is set.
type brokenFeed struct {
	broker.Feed
	mu     sync.Mutex
	broken bool
}

func (f *brokenFeed) Attach(ctx context.Context, app, channel string, s broker.Sink) (broker.Attachment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return nil, fmt.Errorf("%w: no quorum", broker.ErrUnavailable)
	}
	return f.Feed.Attach(ctx, app, channel, s)
}

func TestAttachFailureIsToldAndRecovers(t *testing.T) {
	feed := &brokenFeed{Feed: newMemory(t, "app"), broken: true}
	r := newRig(t, func(o *Options, _ *appT) { o.Feed = feed })
	t.Cleanup(func() { _ = feed.Feed.(broker.Log).Close() })
	p, _ := r.connect()
	p.say(`{"event":"pusher:subscribe","data":{"channel":"orders"}}`)
	p.want("pusher:error")
	if m := p.want("pusher:subscription_error"); !strings.Contains(m.str(), `"status":503`) {
		t.Errorf("got %s", m.text)
	}
	feed.mu.Lock()
	feed.broken = false
	feed.mu.Unlock()
	p.subscribe("orders")
}

// handFeed lets a test act as the feed of channels.
type handFeed struct {
	mu    sync.Mutex
	sinks map[string]broker.Sink
	at    broker.Position
}

func (f *handFeed) Attach(_ context.Context, _, channel string, s broker.Sink) (broker.Attachment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sinks == nil {
		f.sinks = map[string]broker.Sink{}
	}
	if f.sinks[channel] != nil {
		return nil, errors.New("attached twice")
	}
	f.sinks[channel] = s
	return &handAttachment{f, channel}, nil
}

func (f *handFeed) sink(channel string) broker.Sink {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sinks[channel]
}

type handAttachment struct {
	feed    *handFeed
	channel string
}

func (a *handAttachment) Position() broker.Position { return a.feed.at }
func (a *handAttachment) Detach() {
	a.feed.mu.Lock()
	defer a.feed.mu.Unlock()
	delete(a.feed.sinks, a.channel)
}

func TestChannelsAreAttachedOnceAndDetachedWhenIdle(t *testing.T) {
	feed := &handFeed{at: broker.Position{Epoch: "e"}}
	r := newRig(t, func(o *Options, _ *appT) { o.Feed = feed })
	a, b := r.subscribed("orders", false), r.subscribed("orders", false)
	a.hangUp()
	b.say(`{"event":"pusher:unsubscribe","data":{"channel":"orders"}}`)
	b.usable()
	eventually(t, "nobody uses the channel", func() bool {
		r.hub.mu.Lock()
		defer r.hub.mu.Unlock()
		return len(r.hub.idle) == 1
	})
	r.hub.sweep(r.hub.opt.Now().Add(4 * time.Second))
	if feed.sink("orders") == nil {
		t.Error("the channel was detached at once")
	}
	b.subscribe("orders")
	r.hub.sweep(r.hub.opt.Now().Add(time.Hour / 60))
	if feed.sink("orders") == nil {
		t.Error("the channel was detached while in use")
	}
	b.say(`{"event":"pusher:unsubscribe","data":{"channel":"orders"}}`)
	b.usable()
	r.hub.sweep(r.hub.opt.Now().Add(6 * time.Second))
	if feed.sink("orders") != nil {
		t.Error("the channel is still attached")
	}
}

func TestGapsReachTheClient(t *testing.T) {
	feed := &handFeed{at: broker.Position{Epoch: "e"}}
	r := newRig(t, func(o *Options, _ *appT) { o.Feed = feed })
	v1 := r.subscribed("orders", false)
	v2 := r.dial("/app/key?protocol=2")
	v2.want("sockudo:connection_established")
	v2.say(`{"event":"sockudo:subscribe","data":{"channel":"orders"}}`)
	v2.want("sockudo_internal:subscription_succeeded")
	feed.sink("orders").Gap(broker.Gap{
		After: broker.Position{Epoch: "e", Offset: 4}, Resume: broker.Position{Epoch: "f", Offset: 2}, Reason: broker.GapEpoch,
	})
	v1.want("pusher:error")
	if got := v1.closed(); got != 4200 {
		t.Errorf("V1 closed with %d, want 4200", got)
	}
	m := v2.want("sockudo:resume_failed")
	for _, part := range []string{`"channel":"orders"`, `"code":"stream_reset"`, `"expected_stream_id":"e"`, `"current_stream_id":"f"`} {
		if !strings.Contains(m.str(), part) {
			t.Errorf("got %s without %s", m.str(), part)
		}
	}
	// The offsets of the new epoch may be lower than those of the old one.
	feed.sink("orders").Publication(&broker.Publication{
		Event: broker.Event{Name: "again", Data: []byte("1")}, Position: broker.Position{Epoch: "f", Offset: 3},
	})
	v2.want("again")
}

func TestSlowSocket(t *testing.T) {
	r := newRig(t, func(o *Options, _ *appT) { o.QueueBytes = 256 << 10; o.SlowAge = patience })
	slow := r.subscribed("busy", false)
	quick := r.subscribed("busy", false)
	slow.pause()
	const size = 60 << 10
	pad := strings.Repeat("x", size)
	sent := 0
	for r.hub.Stats().Overflowed == 0 {
		if sent > 2000 {
			t.Fatal("the outbox never overflowed")
		}
		r.publish("busy", "chunk", fmt.Sprintf(`{"n":%d,"pad":%q}`, sent, pad))
		if m := quick.want("chunk"); !strings.HasPrefix(m.str(), fmt.Sprintf(`{"n":%d,`, sent)) {
			t.Fatalf("WS-24: the other socket got %.40s at %d", m.text, sent)
		}
		sent++
	}
	slow.resume()
	got := 0
	for m := slow.next(); m.Event == "chunk"; m = slow.next() {
		if !strings.HasPrefix(m.str(), fmt.Sprintf(`{"n":%d,`, got)) {
			t.Fatalf("WS-25: a frame is missing: got %.40s at %d", m.text, got)
		}
		got++
	}
	if code := slow.closed(); code != 4100 {
		t.Errorf("WS-24: closed with %d, want 4100", code)
	}
	if got == 0 || got >= sent {
		t.Errorf("the slow socket got %d of %d frames", got, sent)
	}
	quick.usable()
}
