package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

type rewindSaid struct {
	History   int  `json:"historical_count"`
	Live      int  `json:"live_count"`
	Complete  bool `json:"complete"`
	Retention bool `json:"truncated_by_retention"`
	Limit     bool `json:"truncated_by_limit"`
}

func (p *peer) rewound() rewindSaid {
	p.t.Helper()
	var r rewindSaid
	p.want("sockudo:rewind_complete").inner(p.t, &r)
	return r
}

func TestRewinding(t *testing.T) {
	t.Run("RW-01 RW-02 every form: success, the past oldest first, complete, live", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		r.publishMany("orders", 1, 30)
		for _, c := range []struct {
			form string
			n    int
		}{{`20`, 20}, {`"20"`, 20}, {`{"count":20}`, 20}, {`{"seconds":30}`, 30}, {`{"duration_seconds":30}`, 30}, {`1`, 1}} {
			p, _ := r.second()
			p.join("orders", `,"rewind":`+c.form)
			if diff := cmp.Diff(numbers(31-c.n, 30), p.events(c.n)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.form, diff)
			}
			if got, want := p.rewound(), (rewindSaid{History: c.n, Complete: true}); got != want {
				t.Errorf("%s: got %+v, want %+v", c.form, got, want)
			}
			p.alive()
		}
		p, _ := r.second()
		p.join("orders", `,"rewind":2`)
		p.events(2)
		p.rewound()
		r.publish("orders", "tick", "31")
		if diff := cmp.Diff(numbers(31, 31), p.events(1)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("RW-01 other forms are refused", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		r.publishMany("orders", 1, 3)
		for _, form := range []string{`0`, `-1`, `"x"`, `{}`, `[]`, `true`, `{"seconds":0}`, `{"minutes":5}`, `1.5`} {
			p, _ := r.second()
			p.say(`{"event":"sockudo:subscribe","data":{"channel":"orders","rewind":%s}}`, form)
			p.want("sockudo:error")
			if m := p.want("sockudo:subscription_error"); m.Channel != "orders" || !strings.Contains(m.str(), `"status":400`) || !strings.Contains(m.str(), "rewind") {
				t.Errorf("%s: got %s", form, m.text)
			}
			r.publish("orders", "tick", "4")
			p.alive()
		}
	})
	t.Run("RW-02 what is published meanwhile comes once, in order", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		const events = 400
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.publishMany("orders", 1, events)
		}()
		for range 8 {
			p, _ := r.second()
			p.join("orders", `,"rewind":50`)
			last, complete := 0, false
			for last < events {
				m := p.next()
				if m.Event == "sockudo:rewind_complete" {
					complete = true
					continue
				}
				n := 0
				m.inner(t, &n)
				if last != 0 && n != last+1 {
					t.Fatalf("%d came after %d", n, last)
				}
				last = n
			}
			if !complete {
				p.rewound()
			}
			p.alive()
		}
		<-done
	})
	t.Run("RW-03 a wish above the page size is cut and says so", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Limits.MaxHistoryPage = 10 })
		r.publishMany("orders", 1, 30)
		for form, want := range map[string]rewindSaid{
			`11`: {History: 10, Limit: true}, `10`: {History: 10, Complete: true}, `{"seconds":60}`: {History: 10, Limit: true},
		} {
			p, _ := r.second()
			p.join("orders", `,"rewind":`+form)
			if diff := cmp.Diff(numbers(21, 30), p.events(10)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", form, diff)
			}
			if got := p.rewound(); got != want {
				t.Errorf("%s: got %+v, want %+v", form, got, want)
			}
		}
	})
	t.Run("retention cuts a rewind and says so", func(t *testing.T) {
		r := timeRig(t, memory.Options{MaxMessages: 5}, nil)
		r.publishMany("orders", 1, 30)
		p, _ := r.second()
		p.join("orders", `,"rewind":20`)
		if diff := cmp.Diff(numbers(26, 30), p.events(5)); diff != "" {
			t.Error(diff)
		}
		if got, want := p.rewound(), (rewindSaid{History: 5, Retention: true}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		p, _ = r.second()
		p.join("few", `,"rewind":20`)
		if got, want := p.rewound(), (rewindSaid{Complete: true}); got != want {
			t.Errorf("an empty channel: got %+v, want %+v", got, want)
		}
	})
	t.Run("RW-01 by time", func(t *testing.T) {
		now := time.Now()
		r := timeRig(t, memory.Options{Now: func() time.Time { return now }}, nil)
		r.publishMany("orders", 1, 5)
		now = now.Add(40 * time.Second)
		r.publishMany("orders", 6, 8)
		r.clock.Store(now.UnixNano())
		r.hub.opt.LogTime = func() time.Time { return now }
		p, _ := r.second()
		p.join("orders", `,"rewind":{"seconds":30}`)
		if diff := cmp.Diff(numbers(6, 8), p.events(3)); diff != "" {
			t.Error(diff)
		}
		p.rewound()
	})
	t.Run("RW-04 V1, without history, or without rewind: refused", func(t *testing.T) {
		on := timeRig(t, memory.Options{}, nil)
		noRewind := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Rewind = false })
		noHistory := timeRig(t, memory.Options{}, func(o *Options, a *appT) { a.HistoryEnabled, a.Rewind, o.History = false, false, nil })
		for _, c := range []struct {
			rig  *rig
			path string
		}{{on, "/app/key?protocol=7"}, {noRewind, "/app/key?protocol=2"}, {noHistory, "/app/key?protocol=2"}} {
			p := c.rig.dial(c.path)
			prefix, _, _ := strings.Cut(p.next().Event, ":")
			p.say(`{"event":"pusher:subscribe","data":{"channel":"orders","rewind":5}}`)
			p.want(prefix + ":error")
			if m := p.want(prefix + ":subscription_error"); !strings.Contains(m.str(), "rewind") {
				t.Errorf("got %s", m.text)
			}
		}
	})
	t.Run("TF-14 filters apply to a rewind", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.Filters = true })
		for n := range 10 {
			kind := []string{"a", "b"}[n%2]
			r.publishMany("orders", n, n, func(ev *broker.Event) { ev.Tags = map[string]string{"kind": kind} })
		}
		p, _ := r.second()
		p.join("orders", `,"rewind":6,"filter":{"key":"kind","cmp":"eq","val":"a"}`)
		if diff := cmp.Diff([]string{"4", "6", "8"}, p.events(3)); diff != "" {
			t.Error(diff)
		}
		if got := p.rewound(); got.History != 3 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("subscribing again may rewind", func(t *testing.T) {
		r := timeRig(t, memory.Options{}, nil)
		r.publishMany("orders", 1, 5)
		p, _ := r.second()
		p.join("orders", "")
		r.publish("orders", "tick", "6")
		p.events(1)
		p.join("orders", `,"rewind":2`)
		if diff := cmp.Diff(numbers(5, 6), p.events(2)); diff != "" {
			t.Error(diff)
		}
		p.rewound()
		r.publish("orders", "tick", "7")
		p.events(1)
		p.alive()
	})
}
