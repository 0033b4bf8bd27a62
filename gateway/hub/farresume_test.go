package hub

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// countingLog counts the calls of CountFrom.
type countingLog struct {
	broker.Log
	counts atomic.Int64
}

func (l *countingLog) CountFrom(ctx context.Context, app, channel string, offset uint64) (uint64, error) {
	l.counts.Add(1)
	return l.Log.(broker.Ranking).CountFrom(ctx, app, channel, offset)
}

// TestRE05WhatOthersReadTellsNothingLess: a client that missed too much is told so before any event is sent
// to it, even if a page that was read for another client contains some or all of the missed events.
func TestRE05WhatOthersReadTellsNothingLess(t *testing.T) {
	const most, all = 100, 400
	for _, c := range []struct{ first, second int }{{101, 101}, {210, 150}, {100, 101}, {300, 300}, {300, 102}} {
		t.Run(fmt.Sprintf("%d after %d", c.second, c.first), func(t *testing.T) {
			r := timeRig(t, memory.Options{MaxMessages: 2 * all}, func(_ *Options, a *appT) { a.Recovery.MaxEvents = most })
			var stored []broker.Position
			for i := range all {
				stored = append(stored, r.publishMany("orders", i+1, i+1).Position)
			}
			live, _ := r.second()
			live.join("orders", "")
			r.publishMany("orders", all+1, all+2)
			live.events(2)
			for _, missed := range []int{c.first, c.second, c.second} {
				p, _ := r.second()
				p.join("orders", "")
				at := stored[all+2-missed-1]
				p.from("orders", at.Epoch, at.Offset, "")
				if missed > most {
					p.resumeFails("position_expired", at.Epoch)
				} else if got := p.events(missed); got[0] != fmt.Sprint(all+2-missed+1) {
					t.Errorf("the first event is %s", got[0])
				}
			}
		})
	}
}

// TestRE05ResumeGetsAllOrNothing: a client that missed more than it may is told so before any event is sent
// to it, even if the missed events are more than one page of the log. Only such a resume calls CountFrom.
func TestRE05ResumeGetsAllOrNothing(t *testing.T) {
	const all = 3300
	for _, c := range []struct {
		most, missed int
		counts       bool
		recovers     bool
	}{
		{most: 100, missed: 101},
		{most: 1500, missed: 1501, counts: true},
		{most: 1500, missed: 3299, counts: true},
		{most: 3000, missed: 3001, counts: true},
		{most: 1500, missed: 1500, counts: true, recovers: true},
		{most: 3299, missed: 3299, counts: true, recovers: true},
		{most: 1500, missed: 900, recovers: true},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.missed, c.most), func(t *testing.T) {
			var log *countingLog
			r := timeRig(t, memory.Options{MaxMessages: 2 * all}, func(o *Options, a *appT) {
				log = &countingLog{Log: o.Feed.(broker.Log)}
				o.History = log
				a.Recovery.MaxEvents = c.most
			})
			out := make([]broker.Outgoing, all)
			for i := range out {
				out[i] = broker.Outgoing{Channel: "orders", Event: &broker.Event{Name: "tick", Data: fmt.Append(nil, i+1)}}
			}
			receipts, err := r.log.Publish(t.Context(), "app", out...)
			if err != nil {
				t.Fatal(err)
			}
			p, _ := r.second()
			p.join("orders", "")
			r.publishMany("orders", all+1, all+2) // Live events, which the client has not missed.
			p.events(2)
			at := receipts[all-c.missed-1].Position
			p.from("orders", at.Epoch, at.Offset, "")
			if !c.recovers {
				p.resumeFails("position_expired", at.Epoch)
			} else if got := p.events(c.missed); got[0] != fmt.Sprint(all-c.missed+1) {
				t.Errorf("the first event is %s", got[0])
			}
			if n := log.counts.Load(); n > 2 || n > 0 != c.counts {
				t.Errorf("the log counted %d times, want at most 2, and some: %t", n, c.counts)
			}
		})
	}
}
