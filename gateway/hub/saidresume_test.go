package hub

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/past"
)

// TestTime01AResumeThatIsAnnouncedIsWaitedFor: a client that announced a resume gets the missed events before
// the live ones, even if its next frame is late.
func TestTime01AResumeThatIsAnnouncedIsWaitedFor(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	at := r.publishMany("orders", 0, 4)
	slow, _ := r.second()
	slow.join("orders", `,"resumes":true`)
	// A subscription without the announcement is held, too. This one begins later and is released first.
	other, _ := r.second()
	other.join("orders", "")
	r.publishMany("orders", 5, 7)
	if diff := cmp.Diff(numbers(5, 7), other.events(3)); diff != "" {
		t.Fatal(diff)
	}
	slow.from("orders", at.Epoch, at.Offset-4, "")
	if diff := cmp.Diff(numbers(1, 7), slow.events(7)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := slow.summary(); len(s.Recovered) != 1 || len(s.Failed) != 0 {
		t.Errorf("got %+v", s)
	}
}

// TestTime07AnAnnouncedResumeThatNeverComes: the subscription becomes live after a while.
func TestTime07AnAnnouncedResumeThatNeverComes(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	p, id := r.second()
	p.join("orders", `,"resumes":true`)
	r.publish("orders", "told", `1`)
	p.alive()
	c := r.hub.find(id)
	c.recovery.mu.Lock()
	now := time.Now()
	wait := c.recovery.held.Wait(now)
	c.recovery.mu.Unlock()
	if wait <= past.HoldTime {
		t.Errorf("it is waited for %v more", wait)
	}
	c.patient(now.Add(past.HoldTime)) // This is too early.
	p.alive()
	c.patient(now.Add(past.HoldAge + time.Second))
	p.want("told")
	p.join("bills", "")
	r.publish("bills", "told", `2`)
	p.want("told")
}

// TestTime01WhatWasSentTogetherIsHandledFirst: the silence of a client is measured from when all its received
// requests have been handled. The resume may be among them, and wait for its turn as long as the server
// takes.
func TestTime01WhatWasSentTogetherIsHandledFirst(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	var p *peer
	var c *Client
	eventually(t, "something comes while a subscription is held", func() bool {
		var id string
		p, id = r.second()
		p.join("orders", "")
		c = r.hub.find(id)
		c.Pace(1)
		c.recovery.mu.Lock()
		defer c.recovery.mu.Unlock()
		return c.recovery.held.Len() == 1
	})
	r.publish("orders", "told", `1`)
	c.patient(time.Now().Add(10 * past.HoldTime))
	p.alive()
	c.Listens()
	c.patient(time.Now().Add(10 * past.HoldTime))
	p.want("told")
}

// TestTime07SubscriptionsThatEndAreNotHeld: subscriptions that have ended leave nothing behind.
func TestTime07SubscriptionsThatEndAreNotHeld(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	p, id := r.second()
	for range 100 {
		p.join("orders", `,"resumes":true`)
		p.say(`{"event":"sockudo:unsubscribe","data":{"channel":"orders"}}`)
	}
	p.join("bills", `,"resumes":true`)
	p.alive()
	c := r.hub.find(id)
	c.recovery.mu.Lock()
	defer c.recovery.mu.Unlock()
	if n := c.recovery.held.Len(); n != 1 {
		t.Errorf("%d subscriptions are held, want the one that there is", n)
	}
}

// TestTime07ARefusedResumeHoldsNothing: a refused resume releases the subscriptions that waited for it.
func TestTime07ARefusedResumeHoldsNothing(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	p, id := r.second()
	p.join("orders", `,"resumes":true`)
	p.say(`{"event":"sockudo:resume","data":{"channel_positions":7}}`)
	p.want("sockudo:error")
	c := r.hub.find(id)
	c.recovery.mu.Lock()
	n := c.recovery.held.Len()
	c.recovery.mu.Unlock()
	if n != 0 {
		t.Errorf("%d subscriptions are held still", n)
	}
	r.publish("orders", "told", `1`)
	p.want("told")
}

// TestTime06WhoIsHeldGetsWhatIsHis: the limit of readable history does not apply to events after the
// beginning of a subscription, even if memory has evicted them meanwhile.
func TestTime06WhoIsHeldGetsWhatIsHis(t *testing.T) {
	for name, reading := range map[string]app.Reading{"nothing": {Off: true}, "ten": {Messages: 10}, "a millisecond": {Age: time.Millisecond}, "all": {}} {
		t.Run(name, func(t *testing.T) {
			r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) {
				a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: reading}})
			})
			p, id := r.second()
			p.join("orders", `,"resumes":true`)
			r.publishMany("orders", 0, 199)
			r.hub.find(id).letGo()
			if diff := cmp.Diff(numbers(0, 199), p.events(200)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// midway is a feed that calls then once, after a channel is attached and before Attach returns.
type midway struct {
	broker.Feed
	then atomic.Pointer[func(broker.Attachment, broker.Sink) broker.Attachment]
}

func (f *midway) Attach(ctx context.Context, app, channel string, s broker.Sink) (broker.Attachment, error) {
	at, err := f.Feed.Attach(ctx, app, channel, s)
	if then := f.then.Swap(nil); then != nil && err == nil {
		at = (*then)(at, s)
	}
	return at, err
}

// TestTime02WhatMemoryLetGoOfWhileAttaching: events that memory evicted during the attach are read from the
// log, or the resume fails.
func TestTime02WhatMemoryLetGoOfWhileAttaching(t *testing.T) {
	f := &midway{}
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
		f.Feed, o.Feed = o.Feed, f
		o.DeltaEnabled, a.Delta = false, app.Delta{}
	})
	at := r.publish("orders", "first", `1`)
	const missed = 12
	came := make(chan struct{})
	then := func(at broker.Attachment, _ broker.Sink) broker.Attachment {
		for range missed {
			r.publish("orders", "told", `"`+strings.Repeat("x", 60<<10)+`"`)
		}
		c := r.channel("orders")
		eventually(t, "the channel has them", func() bool {
			c.log.Lock()
			defer c.log.Unlock()
			return c.log.reached >= missed+1
		})
		close(came)
		return at
	}
	f.then.Store(&then)
	p, _ := r.second()
	p.join("orders", `,"resumes":true`)
	<-came
	p.from("orders", at.Epoch, at.Offset, "")
	got := 0
	for {
		m := p.next()
		if strings.HasSuffix(m.Event, "resume_failed") {
			return // the loss was reported
		}
		if strings.HasSuffix(m.Event, "resume_success") {
			break
		}
		got++
	}
	if got != missed {
		t.Errorf("got %d events and no word of the others, %d were missed", got, missed)
	}
}
