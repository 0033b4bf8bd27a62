package hub

import (
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

// snapshotRig gives everybody a snapshot who subscribes to a ticker.
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
		for range 2 { // The first makes it from the log, the second finds it.
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
		p.subscribe("ticker-a") // again: it has what it wants
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
