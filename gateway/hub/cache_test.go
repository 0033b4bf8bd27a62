package hub

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/webhook"
	"github.com/sluicehq/sluice/kv"
)

// cacheRig returns a rig whose hub reads the history of channels from its log.
func cacheRig(t *testing.T, change func(*Options, *appT)) *rig {
	log := newMemory(t, "app")
	r := newRig(t, func(o *Options, a *appT) {
		o.Feed, o.History, o.Publisher = log, log, log
		// With one shard, a new subscriber is never behind a socket that has got the event.
		o.Shards = 1
		if change != nil {
			change(o, a)
		}
	})
	_ = r.log.Close()
	r.log = log
	return r
}

func TestCacheChannels(t *testing.T) {
	greet := func(r *rig, want string) (*peer, message) {
		r.t.Helper()
		p, _ := r.connect()
		p.subscribe("cache-x")
		return p, p.want(want)
	}
	greeted := func(r *rig, want string) message {
		r.t.Helper()
		_, m := greet(r, want)
		return m
	}
	t.Run("CA-01 CA-03 a new subscriber gets the last event after the success frame, on any gateway", func(t *testing.T) {
		r := cacheRig(t, nil)
		// Published before any subscription here, as if through another gateway.
		r.publish("cache-x", "first", `{"n":1}`)
		p, m := greet(r, "first")
		if m.str() != `{"n":1}` {
			t.Errorf("got %s", m.text)
		}
		r.publish("cache-x", "second", `{"n":2}`)
		p.want("second")
		if m := greeted(r, "second"); m.str() != `{"n":2}` {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("the last event is as large as one may be, and larger than a queue", func(t *testing.T) {
		r := cacheRig(t, func(o *Options, _ *appT) { o.QueueBytes = 64 << 10 })
		var p *peer
		for _, size := range []int{60 << 10, 64 << 10, 500 << 10} {
			r.publish("cache-x", "large", strings.Repeat("x", size))
			if p != nil {
				p.want("large")
			}
			var m message
			if p, m = greet(r, "large"); len(m.str()) != size {
				t.Errorf("got %d bytes, want %d", len(m.str()), size)
			}
		}
	})
	t.Run("CA-02 an empty cache is told", func(t *testing.T) {
		r := cacheRig(t, nil)
		if m := greeted(r, "pusher:cache_miss"); m.text != `{"event":"pusher:cache_miss","channel":"cache-x","data":"{}"}` {
			t.Errorf("got %s", m.text)
		}
	})
	t.Run("CA-04 after its time the event is forgotten", func(t *testing.T) {
		r := cacheRig(t, nil)
		r.publish("cache-x", "first", `{"n":1}`)
		greeted(r, "first")
		r.clock.Add(int64(31 * time.Minute))
		greeted(r, "pusher:cache_miss")
	})
	t.Run("CA-05 client events are not remembered", func(t *testing.T) {
		r := cacheRig(t, nil)
		r.publish("cache-x", "first", `{"n":1}`)
		r.publish("cache-x", "client-x", `{"n":2}`, func(e *broker.Event) { e.Origin = broker.OriginClient })
		greeted(r, "first")
		r.publish("cache-x", "client-x", `{"n":3}`, func(e *broker.Event) { e.Origin = broker.OriginClient })
		greeted(r, "first")
	})
	t.Run("CA-05 nor do any number of them push it out", func(t *testing.T) {
		r := cacheRig(t, nil)
		r.publish("cache-x", "first", `{"n":1}`)
		for range 300 { // More than the first read of the history returns.
			r.publish("cache-x", "client-x", `{"n":2}`, func(e *broker.Event) { e.Origin = broker.OriginClient })
		}
		greeted(r, "first")
	})
	t.Run("CA-06 the cached event has no number, and the next one is full", func(t *testing.T) {
		r := cacheRig(t, nil)
		r.publish("cache-x", "tick", tick(1))
		p, _ := r.connect()
		p.asked(`{}`)
		p.subscribe("cache-x")
		if m := p.want("tick"); m.Sequence != nil {
			t.Errorf("got %s", m.text)
		}
		r.publish("cache-x", "tick", tick(2))
		if m := p.want("tick"); m.Sequence == nil {
			t.Errorf("got %s", m.text)
		}
	})
}

// missHooks records the cache_miss webhooks of an application.
type missHooks struct{ told chan string }

func (missHooks) Wants(_ *app.App, name string) bool { return name == webhook.CacheMiss }
func (m missHooks) Emit(_ *app.App, e webhook.Event) { m.told <- e.Channel }

// aside is a sink that ignores everything.
type aside struct{}

func (aside) Publication(*broker.Publication) {}
func (aside) Gap(broker.Gap)                  {}

// TestCA07EachTimeThatACacheIsEmptyIsToldOnce: each time a cache becomes empty, one cache_miss webhook is
// sent, whichever gateway sees the miss. A purge makes the cache empty again, also if it began empty.
func TestCA07EachTimeThatACacheIsEmptyIsToldOnce(t *testing.T) {
	hooks := missHooks{make(chan string, 16)}
	table := kv.NewMemoryTable(nil)
	e := newErasableRig(t, func(o *Options, a *appT) {
		o.Node = rand.Text()
		o.Herald = herald.New(herald.Options{Apps: app.NewRegistry(a), Hooks: hooks, Node: o.Node})
		roster, err := presence.New(t.Context(), presence.Options{Table: table, Node: o.Node, Tell: o.Herald.Tell})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { roster.Close(context.Background()) })
		o.Roster = roster
	})
	missed := func(name string, r *rig) {
		t.Helper()
		// A shard may learn of a purge a moment later.
		eventually(t, name+": there is no event", func() bool {
			p, _ := r.second()
			p.join("cache-x", "")
			return p.next().Event == "sockudo:cache_miss"
		})
	}
	told := func() {
		t.Helper()
		select {
		case <-hooks.told:
		case <-time.After(patience):
			t.Fatal("the miss is not told")
		}
	}
	for range 3 {
		missed("the gateway that did it", e.rig)
	}
	told()
	e.publishMany("cache-x", 1, 1)
	e.purge("cache-x", 0)
	missed("the gateway that did it", e.rig)
	told()
	// The other gateway has never seen the event.
	eventually(t, "the other one knows of the purge", func() bool {
		at, err := e.other.hub.opt.Feed.Attach(t.Context(), "app", "cache-x", aside{})
		if err != nil {
			t.Fatal(err)
		}
		defer at.Detach()
		return at.(interface{ Purged(id string) uint64 }).Purged(at.Position().Epoch) > 0
	})
	for range 3 {
		e.both(missed)
	}
	e.tell("cache-x", 2, 2)
	e.purge("cache-x", 0)
	for range 3 {
		e.both(missed)
	}
	told()
	// Once the tasks have ended, every other webhook has been decided: claims are tasks.
	e.both(func(_ string, r *rig) { r.hub.tasks.Stop(); r.hub.tasks.Wait() })
	if len(hooks.told) > 0 {
		t.Errorf("%d more misses were told", len(hooks.told))
	}
}
