package hub

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/fanout"
)

// TestWayIn01WhoPrimesIsNotPrompt: a channel that is being primed reports that it is not prompt, since the
// goroutine that primes it posts the early events under the channel's lock. Other channels stay prompt.
func TestWayIn01WhoPrimesIsNotPrompt(t *testing.T) {
	slow := &slowHistory{asked: make(chan struct{}, 1), goOn: make(chan struct{})}
	goOn := sync.OnceFunc(func() { close(slow.goOn) })
	defer goOn()
	r := timeRig(t, memory.Options{}, func(o *Options, a *appT) { slow.History, o.History = o.History, slow })
	r.publishMany("slow", 1, 3)
	other, _ := r.second()
	other.join("other", "")
	slow.armed.Store(true)
	p, _ := r.second()
	p.say(`{"event":"sockudo:subscribe","data":{"channel":"slow"}}`)
	<-slow.asked
	prompt := func() map[string]bool {
		all := map[string]bool{}
		for _, c := range r.hub.attached() {
			all[c.Name] = c.Prompt()
		}
		return all
	}
	if diff := cmp.Diff(map[string]bool{"slow": false, "other": true}, prompt()); diff != "" {
		t.Errorf("while the past is read (-want +got):\n%s", diff)
	}
	var c *Channel
	for _, one := range r.hub.attached() {
		if one.Name == "slow" {
			c = one
		}
	}
	var early, posted atomic.Int64
	defer c.Tap(&fanout.Tap{Show: func(p *fanout.Event) {
		posted.Add(1)
		if p.Pub.Name == "early" && !c.Prompt() {
			early.Add(1)
		}
	}})()
	for range 2 {
		r.publish("slow", "early", "x")
	}
	eventually(t, "two wait", func() bool {
		c.log.Lock()
		defer c.log.Unlock()
		return c.log.early.Len() == 2
	})
	r.publishMany("other", 1, 1)
	other.events(1)
	goOn()
	p.want("sockudo_internal:subscription_succeeded")
	r.publishMany("slow", 6, 6)
	if diff := cmp.Diff(numbers(6, 6), p.events(1)); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	if early, posted := early.Load(), posted.Load(); early != 2 || posted != 3 {
		t.Errorf("%d of %d were posted by somebody who primes, want 2 of 3", early, posted)
	}
	eventually(t, "both are prompt", func() bool { all := prompt(); return all["slow"] && all["other"] })
}
