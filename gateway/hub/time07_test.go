package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime07ParkedPositionsAreBounded: positions of channels that nobody can subscribe to are not kept.
// Others are kept up to the limit and for a minute, and no event of any channel arrives.
func TestTime07ParkedPositionsAreBounded(t *testing.T) {
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.MaxSubscriptions = 50 })
	at := r.publishMany("orders", 1, 3)
	p, id := r.second()
	for n := range 100 {
		p.from(fmt.Sprint(n, strings.Repeat("long", 4000)), at.Epoch, 1, "")
		p.summaryOf(0, 0)
	}
	c := r.hub.find(id)
	kept := func() int {
		p.alive()
		// The goroutine that reads the connection may still work on the last message.
		c.recovery.mu.Lock()
		defer c.recovery.mu.Unlock()
		return c.recovery.parked.Len()
	}
	if n := kept(); n != 0 {
		t.Errorf("%d positions of impossible channels are kept", n)
	}
	for n := range 100 {
		p.from(fmt.Sprint("c", n), at.Epoch, 1, "")
		if n < 50 {
			p.summaryOf(0, 0)
			continue
		}
		// A position beyond the limit fails, and the answer says nothing about the channel.
		if m := p.next(); m.Event != "sockudo:resume_failed" || !strings.Contains(m.str(), "continuity_unverifiable") || !strings.Contains(m.str(), `"current_stream_id":null`) {
			t.Errorf("position %d: %+v", n, m)
		}
		p.summaryOf(0, 1)
	}
	if n := kept(); n != 50 {
		t.Errorf("%d positions are kept, want 50", n)
	}
	if n := r.sum("sockudo_recovery_seconds"); n != 0 {
		t.Errorf("%v times of recoveries, and nothing was recovered", n)
	}
	r.clock.Add(int64(time.Minute + time.Second))
	p.from("orders", at.Epoch, 0, "")
	p.summaryOf(0, 0)
	r.clock.Add(int64(time.Minute + time.Second))
	p.join("orders", "")
	p.alive()
}
