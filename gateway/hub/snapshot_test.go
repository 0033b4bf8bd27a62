package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

func keyed(key string) func(*broker.Event) {
	return func(ev *broker.Event) { ev.ConflationKey, ev.HasKey = key, true }
}

// snapshotRig returns a rig that sends every new subscriber of a ticker channel a snapshot.
func snapshotRig(t *testing.T, opt memory.Options, change func(*Options, *appT)) *rig {
	return timeRig(t, opt, func(o *Options, a *appT) {
		a.Snapshots = []app.SnapshotPattern{{Match: "ticker*", Snapshot: app.Snapshot{On: true}}}
		if change != nil {
			change(o, a)
		}
	})
}

type snapshotSaid struct {
	Count    int  `json:"count"`
	Complete bool `json:"complete"`
}

func (p *peer) snapshotted() (s snapshotSaid) {
	p.t.Helper()
	p.want("sockudo:snapshot_complete").inner(p.t, &s)
	return s
}

func TestTime02Snapshots(t *testing.T) {
	fill := func(r *rig, channel string) {
		for n := range 12 {
			r.publishMany(channel, n, n, keyed(string(rune('a'+n%4))))
		}
	}
	t.Run("the newest of each value, oldest first, then what is live", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{}, nil)
		fill(r, "orders")
		for range 2 { // the first one is made from the log, the second one comes from memory
			p, _ := r.second()
			p.join("orders", `,"rewind":{"latest":true}`)
			if diff := cmp.Diff(numbers(8, 11), p.events(4)); diff != "" {
				t.Errorf("snapshot (-want +got):\n%s", diff)
			}
			if got, want := p.snapshotted(), (snapshotSaid{4, true}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			r.publish("orders", "tick", "live", keyed("a"))
			if m := p.want("tick"); m.str() != "live" {
				t.Errorf("got %s", m.text)
			}
			fill(r, "orders")
		}
	})
	t.Run("V1 and V2 clients that ask for nothing get it where the app says so", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{}, nil)
		fill(r, "ticker-a")
		fill(r, "other")
		p, _ := r.connect()
		p.subscribe("ticker-a")
		if diff := cmp.Diff(numbers(8, 11), p.events(4)); diff != "" {
			t.Errorf("V1 (-want +got):\n%s", diff)
		}
		p.subscribe("other")
		p.subscribe("ticker-a") // again: it has had the snapshot
		p.usable()
		q, _ := r.second()
		q.join("ticker-a", "")
		if diff := cmp.Diff(numbers(8, 11), q.events(4)); diff != "" {
			t.Errorf("V2 (-want +got):\n%s", diff)
		}
		q.snapshotted()
		q.alive()
	})
	t.Run("of a channel without values the newest event", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{}, nil)
		r.publishMany("ticker", 1, 5)
		p, _ := r.second()
		p.join("ticker", "")
		if diff := cmp.Diff(numbers(5, 5), p.events(1)); diff != "" {
			t.Error(diff)
		}
		p.snapshotted()
		q, _ := r.second()
		q.join("ticker-empty", "")
		if got, want := q.snapshotted(), (snapshotSaid{0, true}); got != want {
			t.Errorf("empty: got %+v, want %+v", got, want)
		}
	})
	t.Run("TF-14 filters apply", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{}, func(o *Options, _ *appT) { o.Filters = true })
		for n := range 6 {
			r.publishMany("ticker", n, n, keyed(fmt.Sprint(n)), func(ev *broker.Event) { ev.Tags = map[string]string{"even": fmt.Sprint(n%2 == 0)} })
		}
		p, _ := r.second()
		p.join("ticker", `,"filter":{"key":"even","cmp":"eq","val":"true"}`)
		if diff := cmp.Diff([]string{"0", "2", "4"}, p.events(3)); diff != "" {
			t.Error(diff)
		}
		if got := p.snapshotted(); got.Count != 3 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("what retention removed is not in it", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{MaxMessages: 3}, nil)
		for n := range 4 {
			r.publishMany("ticker", n, n, keyed(fmt.Sprint(n)))
			p, _ := r.second()
			p.join("ticker", "")
			if diff := cmp.Diff(numbers(max(0, n-2), n), p.events(min(n+1, 3))); diff != "" {
				t.Error(diff)
			}
			p.snapshotted()
		}
	})
	t.Run("more values than are kept are not all there, and it says so", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Snapshots[0].MaxValues = 2 })
		fill(r, "ticker")
		p, _ := r.second()
		p.join("ticker", "")
		if diff := cmp.Diff(numbers(10, 11), p.events(2)); diff != "" {
			t.Error(diff)
		}
		if got, want := p.snapshotted(), (snapshotSaid{2, false}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("who comes back resumes instead", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{}, nil)
		fill(r, "ticker")
		p, _ := r.second()
		at := p.join("ticker", "")
		p.events(4)
		p.snapshotted()
		p.hangUp()
		r.publishMany("ticker", 12, 13, keyed("a"))
		p, _ = r.second()
		p.raw(append(masked(1, []byte(`{"event":"sockudo:subscribe","data":{"channel":"ticker"}}`)),
			masked(1, fmt.Appendf(nil, `{"event":"sockudo:resume","data":{"channel_positions":{"ticker":{"stream_id":%q,"serial":%d}}}}`, at.StreamID, at.Serial))...))
		p.want("sockudo_internal:subscription_succeeded")
		if diff := cmp.Diff(numbers(12, 13), p.events(2)); diff != "" {
			t.Error(diff)
		}
		p.summaryOf(1, 0)
		p.alive()
	})
	t.Run("whoever joins while much is published has the fold of the log", func(t *testing.T) {
		r := snapshotRig(t, memory.Options{MaxMessages: 100_000}, func(o *Options, _ *appT) { o.QueueFrames = 64 })
		const keys, events, joiners = 300, 6000, 6
		name := func(n int) string { return fmt.Sprint("k", n*7919%keys) }
		for n := range events / 2 {
			r.publish("ticker", name(n), fmt.Sprint(n), keyed(name(n)))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := events / 2; n < events; n++ {
				r.publish("ticker", name(n), fmt.Sprint(n), keyed(name(n)))
			}
		}()
		want := map[string]string{}
		for n := range events {
			want[name(n)] = fmt.Sprint(n)
		}
		for range joiners {
			p, _ := r.second()
			p.join("ticker", "")
			view, last := map[string]string{}, uint64(0)
			for complete := false; !complete || view[name(events-1)] != fmt.Sprint(events-1); {
				m := p.next()
				if strings.HasPrefix(m.Event, "sockudo:") {
					if len(view) != keys {
						t.Fatalf("%s after %d values of %d", m.text, len(view), keys)
					}
					complete = true
					continue
				}
				if m.Serial <= last {
					t.Fatalf("%d came after %d", m.Serial, last)
				}
				view[m.Event], last = m.str(), m.Serial
			}
			if diff := cmp.Diff(want, view); diff != "" {
				t.Fatalf("view (-want +got):\n%s", diff)
			}
			p.hangUp()
		}
		<-done
	})
}

// TestTime02WhoCannotComeBackBeginsAnew: where the app sends every new subscriber a snapshot, a client whose
// resume fails gets it as well, at whatever point the resume fails, on V2 and on event streams. The success
// frame of V2 announces it.
func TestTime02WhoCannotComeBackBeginsAnew(t *testing.T) {
	for name, c := range map[string]struct {
		retained int
		// warm: the gateway has the channel attached before.
		warm  bool
		place func(begin position) position
		code  string
	}{
		"more than can be resumed, by memory":  {100, true, func(at position) position { return at }, "position_expired"},
		"more than can be resumed, by the log": {100, false, func(at position) position { return at }, "position_expired"},
		"what retention removed":               {6, false, func(at position) position { return at }, "position_expired"},
		"another stream":                       {100, false, func(at position) position { return position{Stream: "another", Serial: 3} }, "stream_reset"},
		"above the newest":                     {100, true, func(at position) position { return position{Stream: at.Stream, Serial: at.Serial + 1000} }, "continuity_unverifiable"},
	} {
		t.Run(name, func(t *testing.T) {
			r := snapshotRig(t, memory.Options{MaxMessages: c.retained}, func(_ *Options, a *appT) { a.Recovery.MaxEvents = 4 })
			p, _ := r.second()
			m := p.join("ticker", "")
			at := c.place(position{Stream: m.StreamID, Serial: m.Serial})
			if !c.warm {
				p.hangUp()
				eventually(t, "nobody follows the channel", func() bool { return r.readers("ticker") == 0 })
			}
			for n := range 12 {
				r.publishMany("ticker", n, n, keyed(string(rune('a'+n%4))))
			}
			if !c.warm {
				r = r.another()
			}
			for _, late := range []bool{false, true} {
				p, _ := r.second()
				subscribe := masked(1, []byte(`{"event":"sockudo:subscribe","data":{"channel":"ticker"}}`))
				resume := masked(1, fmt.Appendf(nil, `{"event":"sockudo:resume","data":{"channel_positions":{"ticker":{"stream_id":%q,"serial":%d}}}}`, at.Stream, at.Serial))
				if late {
					subscribe, resume = resume, subscribe // The position is parked.
				}
				p.raw(append(subscribe, resume...))
				if late {
					p.want("sockudo:resume_success") // of nothing
				}
				if m := p.want("sockudo_internal:subscription_succeeded"); !strings.Contains(m.str(), `"snapshot":true`) {
					t.Errorf("the success frame announces nothing: %s", m.text)
				}
				var got []string
				var said []string
				for len(said) == 0 || said[len(said)-1] != "sockudo:snapshot_complete" {
					m := p.next()
					switch {
					case m.Event == "tick":
						got = append(got, m.str())
						continue
					case m.Event == "sockudo:resume_failed" && !strings.Contains(m.str(), c.code):
						t.Errorf("%s, want %s", m.text, c.code)
					case m.Event == "sockudo:resume_failed":
						got = nil
					}
					said = append(said, m.Event)
				}
				if diff := cmp.Diff(numbers(8, 11), got); diff != "" {
					t.Errorf("after the failure (-want +got):\n%s", diff)
				}
				if said[0] != "sockudo:resume_failed" {
					t.Errorf("said %q", said)
				}
				r.publishMany("other", 1, 1)
				p.hangUp()
			}
			rd := r.get("channel=ticker", fmt.Sprintf("Last-Event-ID: %s:%d", at.Stream, at.Serial))
			var got []string
			last := ""
			for kind := ""; kind != "snapshot_complete"; {
				e := rd.next()
				switch kind, last = e.kind, e.last; kind {
				case "gap":
					got = nil
				case "tick":
					var m message
					_ = json.Unmarshal([]byte(e.data), &m)
					got = append(got, m.str())
				}
			}
			if diff := cmp.Diff(numbers(8, 11), got); diff != "" {
				t.Errorf("a reader, after the gap (-want +got):\n%s", diff)
			}
			if !strings.HasSuffix(last, ":12") {
				t.Errorf("the id is %s then", last)
			}
		})
	}
}
