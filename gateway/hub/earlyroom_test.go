package hub

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// TestRooms16APrimedChannelHoldsBoundedBytes: large events that arrive while a channel is primed do not pile
// up. Priming ends early when too many bytes wait, and no event is lost.
func TestRooms16APrimedChannelHoldsBoundedBytes(t *testing.T) {
	const size, most = 512 << 10, 4 << 20
	slow := &slowHistory{asked: make(chan struct{}, 1), goOn: make(chan struct{})}
	goOn := sync.OnceFunc(func() { close(slow.goOn) })
	defer goOn()
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) { slow.History, o.History = o.History, slow })
	waiting := func() int { return int(metricValue(t, r.registry, "sockudo_priming_queue_bytes", nil)) }
	r.publishMany("slow", 1, 3)
	slow.armed.Store(true)
	p, _ := r.second()
	p.say(`{"event":"sockudo:subscribe","data":{"channel":"slow"}}`)
	<-slow.asked
	data := strings.Repeat("x", size)
	publish := func(n int) {
		for range n {
			r.publish("slow", "large", data)
		}
	}
	publish(3)
	eventually(t, "three wait", func() bool { return waiting() >= 3*size })
	publish(3 * most / size)
	c := r.channel("slow")
	eventually(t, "nothing waits any more", func() bool { return c.Prompt() && waiting() == 0 })
	if n := metricValue(t, r.registry, "sockudo_priming_cut_short_total", nil); n != 1 {
		t.Errorf("%v channels were primed no further, want 1", n)
	}
	goOn()
	p.want("sockudo_internal:subscription_succeeded")
	r.publishMany("slow", 6, 6)
	// The shard may still have the last of the large events queued when the subscription is made.
	got := p.events(1)
	for got[0] == data {
		got = p.events(1)
	}
	if diff := cmp.Diff(numbers(6, 6), got); diff != "" {
		t.Errorf("live (-want +got):\n%.200s", diff)
	}
}

// TestRooms16WhatCameBeforeAFailureIsGivenBack: a log may deliver events to a channel and then fail to attach
// it. These events have no taker, so they must not count in any bound.
func TestRooms16WhatCameBeforeAFailureIsGivenBack(t *testing.T) {
	for _, deltas := range []bool{false, true} {
		t.Run(fmt.Sprint("delta ", deltas), func(t *testing.T) {
			log := newMemory(t, "app")
			t.Cleanup(func() { _ = log.Close() })
			feed := &talkingFeed{during: func(s broker.Sink) {
				for n := range uint64(3) {
					pub := inLife("one", n+1, "early")
					pub.Data = bytes.Repeat([]byte("x"), 10_000)
					s.Publication(pub)
				}
			}}
			r := newRig(t, func(o *Options, a *appT) {
				o.Feed, o.History, a.Delta.Enabled = feed, log, deltas
				a.Recovery.Enabled, a.Recovery.MaxEvents, a.Recovery.MaxBytes, a.Recovery.Age = true, 100, 1<<20, time.Minute
			})
			p, _ := r.connect()
			p.say(`{"event":"pusher:subscribe","data":{"channel":"orders"}}`)
			p.want("pusher:error")
			p.want("pusher:subscription_error")
			for _, name := range []string{"priming_queue_bytes", "recent_bytes", "delta_bases_bytes"} {
				eventually(t, name+" is 0", func() bool { return metricValue(t, r.registry, "sockudo_"+name, nil) == 0 })
			}
		})
	}
}

// talkingFeed delivers events to the sinks of apps and then fails to attach them.
type talkingFeed struct{ during func(broker.Sink) }

func (f *talkingFeed) Attach(_ context.Context, app, _ string, sink broker.Sink) (broker.Attachment, error) {
	if app == broker.GatewaysApp {
		return lifeAttachment{}, nil
	}
	f.during(sink)
	return nil, broker.ErrUnavailable
}
