package hub

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/kv"
)

// erasableRig has two hubs on one log. The first one can purge and reset channels.
type erasableRig struct {
	*rig
	other *rig
	lives *lives.Log
}

func newErasableRig(t *testing.T, change func(*Options, *appT)) *erasableRig {
	t.Helper()
	log, err := memory.New(memory.Options{Apps: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	table := kv.NewMemoryTable(nil)
	gateway := func() (*rig, *lives.Log) {
		l, err := lives.New(t.Context(), log, table, func() int { return 1 }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		r := newRig(t, func(o *Options, a *appT) {
			o.Feed, o.History, o.Publisher, o.Shards = l, l.Broker(), l, 1
			a.HistoryEnabled, a.Rewind = true, true
			a.Recovery = app.Recovery{Enabled: true, MaxEvents: 100, MaxBytes: 1 << 20, Age: time.Minute}
			a.Snapshots = []app.SnapshotPattern{{Match: "ticker*", Snapshot: app.Snapshot{On: true}}}
			if change != nil {
				change(o, a)
			}
		})
		_ = r.log.Close()
		r.log = log
		return r, l
	}
	e := &erasableRig{}
	e.rig, e.lives = gateway()
	e.other, _ = gateway()
	return e
}

// both calls do with each gateway.
func (e *erasableRig) both(do func(name string, r *rig)) {
	do("the gateway that did it", e.rig)
	do("the other one", e.other)
}

// forgotten waits until a gateway has a channel under a stream id, and nothing in memory up to offset oldest.
func (r *rig) forgotten(channel, stream string, oldest uint64) {
	r.t.Helper()
	eventually(r.t, "the gateway has forgotten", func() bool {
		r.hub.mu.Lock()
		c := r.hub.channels[channelKey{"app", channel}]
		r.hub.mu.Unlock()
		if c == nil || c.life() != stream {
			return false
		}
		gone := c.recent.Since() >= oldest
		return gone && c.Shards[0].Served().Epoch == stream
	})
}

// tell publishes events, and waits until both gateways have them.
func (e *erasableRig) tell(channel string, from, to int) broker.Receipt {
	e.t.Helper()
	last := e.publishMany(channel, from, to)
	e.other.settled(channel, last.Offset)
	return last
}

func (e *erasableRig) reset(channel string) lives.Reset {
	e.t.Helper()
	done, err := e.lives.Reset(e.t.Context(), "app", channel)
	if err != nil {
		e.t.Fatal(err)
	}
	return done
}

func (e *erasableRig) purge(channel string, before uint64) {
	e.t.Helper()
	if _, err := e.lives.Purge(e.t.Context(), "app", channel, before); err != nil {
		e.t.Fatal(err)
	}
}

func (p *peer) resumeFails(code, stream string) failure {
	p.t.Helper()
	var f failure
	p.want("sockudo:resume_failed").inner(p.t, &f)
	if f.Code != code || f.Current == nil || *f.Current != stream {
		p.t.Errorf("the failure is %+v, want %s and %s", f, code, stream)
	}
	p.summary()
	return f
}

// TestHI07_OldPlacesFailAfterAReset: a live subscriber gets every event, and old positions fail with
// stream_reset on every gateway, whatever was in memory.
func TestHI07_OldPlacesFailAfterAReset(t *testing.T) {
	e := newErasableRig(t, nil)
	e.tell("orders", 0, 0)
	type live struct{ two, one *peer }
	subscribed := map[string]live{}
	e.both(func(name string, r *rig) {
		var l live
		l.two, _ = r.second()
		l.two.join("orders", "")
		l.one, _ = r.connect()
		l.one.subscribe("orders")
		subscribed[name] = l
	})
	last := e.tell("orders", 1, 5)
	e.both(func(name string, _ *rig) {
		subscribed[name].two.events(5)
		subscribed[name].one.events(5)
	})
	done := e.reset("orders")
	if done.Messages != 6 || done.Previous != last.Epoch {
		t.Fatalf("got %+v", done)
	}
	e.both(func(name string, r *rig) {
		r.forgotten("orders", done.Present, last.Offset)
		p, _ := r.second()
		if m := p.join("orders", ""); m.StreamID != done.Present {
			t.Errorf("%s: the success frame has %s", name, m.text)
		}
		p.from("orders", done.Previous, last.Offset, "")
		p.resumeFails("stream_reset", done.Present)
		q, _ := r.second()
		q.join("orders", "")
		q.from("orders", done.Previous, last.Offset-3, "")
		q.resumeFails("stream_reset", done.Present)
		rewinding, _ := r.second()
		rewinding.join("orders", `,"rewind":10`)
		if got := rewinding.rewound(); got.History != 0 {
			t.Errorf("%s: a rewind brings %+v", name, got)
		}
	})
	after := e.tell("orders", 6, 8)
	e.both(func(name string, r *rig) {
		l := subscribed[name]
		for n := range 3 {
			m := l.two.next()
			if m.Event != "tick" || m.StreamID != done.Present || m.Serial <= last.Offset {
				t.Errorf("%s: event %d is %s", name, n, m.text)
			}
		}
		if diff := cmp.Diff(numbers(6, 8), l.one.events(3)); diff != "" {
			t.Errorf("%s: V1 (-want +got):\n%s", name, diff)
		}
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", done.Present, after.Offset-2, "")
		if diff := cmp.Diff(numbers(7, 8), p.events(2)); diff != "" {
			t.Errorf("%s: resumed in the new life (-want +got):\n%s", name, diff)
		}
		p.summaryOf(1, 0)
	})
}

// TestHI08_OldPlacesExpireAfterAPurge: a purge keeps the stream id. Purged positions have expired on every
// gateway.
func TestHI08_OldPlacesExpireAfterAPurge(t *testing.T) {
	e := newErasableRig(t, nil)
	subscribed := map[string]*peer{}
	e.both(func(name string, r *rig) {
		p, _ := r.second()
		p.join("orders", "")
		subscribed[name] = p
	})
	last := e.tell("orders", 0, 9)
	e.both(func(name string, _ *rig) { subscribed[name].events(10) })
	e.purge("orders", last.Offset-2)
	e.both(func(name string, r *rig) {
		r.forgotten("orders", last.Epoch, last.Offset)
		p, _ := r.second()
		p.join("orders", "")
		p.from("orders", last.Epoch, last.Offset-5, "")
		if f := p.resumeFails("position_expired", last.Epoch); f.Oldest == nil || *f.Oldest != last.Offset-2 {
			t.Errorf("%s: the failure is %+v", name, f)
		}
		q, _ := r.second()
		q.join("orders", "")
		q.from("orders", last.Epoch, last.Offset-3, "")
		if diff := cmp.Diff(numbers(7, 9), q.events(3)); diff != "" {
			t.Errorf("%s: resumed above it (-want +got):\n%s", name, diff)
		}
		q.summaryOf(1, 0)
		rewinding, _ := r.second()
		rewinding.join("orders", `,"rewind":10`)
		if diff := cmp.Diff(numbers(7, 9), rewinding.events(3)); diff != "" {
			t.Errorf("%s: rewound (-want +got):\n%s", name, diff)
		}
		rewinding.rewound()
	})
	e.tell("orders", 10, 10)
	e.both(func(name string, _ *rig) {
		if diff := cmp.Diff(numbers(10, 10), subscribed[name].events(1)); diff != "" {
			t.Errorf("%s: live (-want +got):\n%s", name, diff)
		}
	})
}

// TestTime01NothingComesBackFromMemory: caches and snapshots in memory do not bring back what was removed.
func TestTime01NothingComesBackFromMemory(t *testing.T) {
	for operation, erase := range map[string]func(e *erasableRig, channel, stream string) string{
		"purge": func(e *erasableRig, channel, stream string) string { e.purge(channel, 0); return stream },
		"reset": func(e *erasableRig, channel, _ string) string { return e.reset(channel).Present },
	} {
		t.Run(operation, func(t *testing.T) {
			e := newErasableRig(t, nil)
			for _, channel := range []string{"cache-x", "ticker-x"} {
				first := e.tell(channel, 1, 3)
				e.both(func(_ string, r *rig) {
					p, _ := r.second()
					p.join(channel, "")
					p.events(1) // the newest
					if channel == "ticker-x" {
						p.snapshotted()
					}
				})
				stream := erase(e, channel, first.Epoch)
				e.both(func(name string, r *rig) {
					r.forgotten(channel, stream, first.Offset)
					if channel == "cache-x" {
						// A shard may learn of it a moment later.
						eventually(t, name+": there is no event", func() bool {
							p, _ := r.second()
							p.join(channel, "")
							return p.next().Event == "sockudo:cache_miss"
						})
						return
					}
					p, _ := r.second()
					p.join(channel, "")
					if got := p.snapshotted(); got.Count != 0 {
						t.Errorf("%s: the snapshot has %+v", name, got)
					}
				})
				e.tell(channel, 4, 4)
				e.both(func(name string, r *rig) {
					p, _ := r.second()
					p.join(channel, "")
					if diff := cmp.Diff(numbers(4, 4), p.events(1)); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
				})
			}
		})
	}
}
