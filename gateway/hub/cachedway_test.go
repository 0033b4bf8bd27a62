package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// label returns the name of a frame in a test line: the data of an event, or the name of a protocol event.
func (m message) label() string {
	if _, said, ok := strings.Cut(m.Event, ":"); ok {
		if said == "subscription_succeeded" {
			return "success"
		}
		return said
	}
	return m.str()
}

// hears reads as many frames as want has and compares their labels. After resume_failed, resume_success may
// come at any place.
func (p *peer) hears(want ...string) {
	p.t.Helper()
	var got []string
	for range want {
		got = append(got, p.next().label())
	}
	if slices.Contains(want, "resume_failed") {
		got, want = summaryLast(got), summaryLast(want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("heard (-want +got):\n%s", diff)
	}
}

// summaryLast moves every resume_success after the first resume_failed to the end of the line.
func summaryLast(line []string) []string {
	failed := slices.Index(line, "resume_failed")
	if failed < 0 {
		return line
	}
	behind := slices.DeleteFunc(slices.Clone(line[failed:]), func(s string) bool { return s == "resume_success" })
	for range len(line) - failed - len(behind) {
		behind = append(behind, "resume_success")
	}
	return append(slices.Clone(line[:failed]), behind...)
}

// says sends V1 or V2 requests in one write. Each is the name of an event and its data.
func (p *peer) says(prefix string, requests ...[2]string) {
	p.t.Helper()
	var all []byte
	for _, r := range requests {
		all = append(all, masked(1, fmt.Appendf(nil, `{"event":"%s:%s","data":%s}`, prefix, r[0], r[1]))...)
	}
	p.raw(all)
}

func subscribing(channel, more string) [2]string {
	return [2]string{"subscribe", fmt.Sprintf(`{"channel":%q%s}`, channel, more)}
}

func resumingFrom(channel string, at broker.Position) [2]string {
	return [2]string{"resume", fmt.Sprintf(`{"channel_positions":{%q:{"stream_id":%q,"serial":%d}}}`, channel, at.Epoch, at.Offset)}
}

// cachedRig returns a rig with four events of two conflation values in a cache channel, and their positions.
func cachedRig(t *testing.T, change func(*Options, *appT)) (r *rig, at []broker.Position) {
	r = timeRig(t, memory.Options{}, change)
	for n := 1; n <= 4; n++ {
		at = append(at, r.publishMany("cache-x", n, n, keyed(string(rune('a'+n%2)))).Position)
	}
	return r, at
}

func withSnapshots(_ *Options, a *appT) {
	a.Snapshots = []app.SnapshotPattern{{Match: "*", Snapshot: app.Snapshot{On: true}}}
}

// TestTime02TheCacheComesOnTheWay: the cached event of a cache channel comes once and in order, whether a
// subscription begins with it alone or with more of the history. A client that resumes from a position gets
// the events it missed and nothing else.
func TestTime02TheCacheComesOnTheWay(t *testing.T) {
	bare := func(o *Options, a *appT) { a.Recovery.Enabled = false }
	few := func(_ *Options, a *appT) { a.Recovery.MaxEvents = 1 }
	both := func(o *Options, a *appT) { few(o, a); withSnapshots(o, a) }
	for _, c := range []struct {
		name    string
		change  func(*Options, *appT)
		dialect int
		// cold means that the gateway has not attached the channel before.
		cold bool
		says func(at []broker.Position) [][2]string
		want string
	}{
		{"CA-01 V1 begins with it", nil, 1, false, nil, "success 4"},
		{"CA-01 V2 begins with it", nil, 2, false, nil, "success 4"},
		{"CA-01 V2 without recovery", bare, 2, true, nil, "success 4"},
		{"V1 with a snapshot", withSnapshots, 1, false, nil, "success 3 4"},
		{"V1 with a snapshot of the log", withSnapshots, 1, true, nil, "success 3 4"},
		{"V2 with a snapshot", withSnapshots, 2, true, nil, "success 3 4 snapshot_complete"},
		{"V2 with a snapshot, without recovery", func(o *Options, a *appT) { bare(o, a); withSnapshots(o, a) }, 2, true, nil, "success 3 4 snapshot_complete"},
		{"V2 with a snapshot that it asks for", nil, 2, true, func([]broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", `,"rewind":{"latest":true}`)}
		}, "success 3 4 snapshot_complete"},
		{"RW-02 a rewind", nil, 2, false, func([]broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", `,"rewind":2`)}
		}, "success 3 4 rewind_complete"},
		{"RW-02 a rewind of the log", nil, 2, true, func([]broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", `,"rewind":3`)}
		}, "success 2 3 4 rewind_complete"},
		{"RW-02 a rewind without recovery", bare, 2, true, func([]broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", `,"rewind":{"seconds":60}`)}
		}, "success 1 2 3 4 rewind_complete"},
		{"RE-01 a resume", nil, 2, false, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", at[0])}
		}, "success 2 3 4 resume_success"},
		{"RE-01 a resume from the log", nil, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", at[0])}
		}, "success 2 3 4 resume_success"},
		{"RE-01 a resume of who has it", nil, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", at[3])}
		}, "success resume_success"},
		{"RE-01 a resume, with snapshots", withSnapshots, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", at[0])}
		}, "success 2 3 4 resume_success"},
		{"RE-03 a position that is parked", nil, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{resumingFrom("cache-x", at[0]), subscribing("cache-x", "")}
		}, "resume_success success 2 3 4 resume_success"},
		{"RE-03 a position that is parked, of who has it", nil, 2, false, func(at []broker.Position) [][2]string {
			return [][2]string{resumingFrom("cache-x", at[3]), subscribing("cache-x", "")}
		}, "resume_success success resume_success"},
		{"RE-05 a position of another stream", nil, 2, false, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", broker.Position{Epoch: "x", Offset: at[3].Offset})}
		}, "success resume_failed resume_success 4"},
		{"RE-05 a parked position of another stream", nil, 2, false, func(at []broker.Position) [][2]string {
			return [][2]string{resumingFrom("cache-x", broker.Position{Epoch: "x", Offset: at[3].Offset}), subscribing("cache-x", "")}
		}, "resume_success success resume_failed resume_success 4"},
		{"RE-05 more than can be resumed, as the log shows", few, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", at[0])}
		}, "success resume_failed resume_success 4"},
		{"RE-05 likewise, with snapshots", both, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), resumingFrom("cache-x", at[0])}
		}, "success resume_failed resume_success 3 4 snapshot_complete"},
		{"subscribing again while a resume is waited for", nil, 2, true, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("cache-x", ""), subscribing("cache-x", ""), resumingFrom("cache-x", at[0])}
		}, "success success 2 3 4 resume_success"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, at := cachedRig(t, c.change)
			if !c.cold {
				warm, _ := r.connect()
				warm.subscribe("cache-x")
			}
			prefix, p := "pusher", (*peer)(nil)
			if c.dialect == 2 {
				prefix = "sockudo"
				p, _ = r.second()
			} else {
				p, _ = r.connect()
			}
			requests := [][2]string{subscribing("cache-x", "")}
			if c.says != nil {
				requests = c.says(at)
			}
			p.says(prefix, requests...)
			p.hears(strings.Fields(c.want)...)
			r.publish("cache-x", "tick", "live", keyed("a"))
			p.hears("live")
		})
	}
}

// TestTime02TheCacheComesOnceToWhoSubscribesAgainOnTheWay: two subscription requests arrive before the
// snapshot is read; the snapshot comes once.
func TestTime02TheCacheComesOnceToWhoSubscribesAgainOnTheWay(t *testing.T) {
	slow := &slowPages{asked: make(chan struct{}, 1), goOn: make(chan struct{}), newest: true}
	goOn := sync.OnceFunc(func() { close(slow.goOn) })
	r, _ := cachedRig(t, func(o *Options, a *appT) {
		withSnapshots(o, a)
		slow.History, o.History = o.History, slow
	})
	t.Cleanup(goOn)
	p, _ := r.connect()
	p.says("pusher", subscribing("cache-x", ""), subscribing("cache-x", ""))
	p.hears("success", "success")
	goOn()
	p.hears("3", "4")
	r.publish("cache-x", "tick", "live", keyed("a"))
	p.hears("live")
}

// TestTime02TheCacheIsOlderThanTheRewind: a cached event older than the rewind comes before the rewind. The
// reader of an event stream gets it without an id, since the position of the stream is already later. A
// cached event within the rewind comes once.
func TestTime02TheCacheIsOlderThanTheRewind(t *testing.T) {
	for _, recovers := range []bool{true, false} {
		var now atomic.Pointer[time.Time]
		clock := func() time.Time { return *now.Load() }
		start := time.Now()
		now.Store(&start)
		r := timeRig(t, memory.Options{Now: clock}, func(o *Options, a *appT) { o.LogTime, a.Recovery.Enabled = clock, recovers })
		at := r.publish("cache-x", "tick", "1")
		later := start.Add(10 * time.Minute)
		now.Store(&later)
		p, _ := r.second()
		p.says("sockudo", subscribing("cache-x", `,"rewind":{"seconds":30}`))
		p.hears("success", "1", "rewind_complete")
		rd := r.get("channel=cache-x&since=30s")
		rd.want("subscribed")
		if e := rd.want("tick"); e.last != "" {
			t.Errorf("it has the id %q", e.last)
		}
		rd.want("rewind_complete")
		for _, since := range []string{"1", "latest", "20m"} {
			rd := r.get("channel=cache-x&since=" + since)
			rd.want("subscribed")
			id := fmt.Sprintf("%s:%d", at.Epoch, at.Offset)
			if e := rd.want("tick"); e.last != id && since != "latest" || e.last != "" && since == "latest" {
				t.Errorf("since %s: it has the id %q", since, e.last)
			}
			if e := rd.next(); !strings.HasSuffix(e.kind, "_complete") || e.last != id {
				t.Errorf("since %s: then %+v", since, e)
			}
		}
	}
}

// TestTime02TheCacheIsNotInTheSnapshot: a cache keeps its event regardless of the limits of channel_history
// and of later client events. A snapshot that does not contain that event is sent with it, in order.
func TestTime02TheCacheIsNotInTheSnapshot(t *testing.T) {
	one := func(_ *Options, a *appT) {
		a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Messages: 1}}})
	}
	few := func(_ *Options, a *appT) {
		a.Snapshots = []app.SnapshotPattern{{Match: "*", Snapshot: app.Snapshot{On: true, MaxValues: 1}}}
	}
	for _, c := range []struct {
		name   string
		change func(*Options, *appT)
		// key is the conflation value of the client event that came last; the newest other event has the
		// value a.
		key, want string
	}{
		{"another value", nil, "c", "success 3 4 own"},
		{"the same value", nil, "a", "success 3 4 own"},
		{"channel_history shows one", one, "c", "success 4 own"},
		{"channel_history shows one of the same value", one, "a", "success 4 own"},
		{"of too many values", few, "c", "success 4 own"},
	} {
		for _, asked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, asked %v", c.name, asked), func(t *testing.T) {
				r, _ := cachedRig(t, func(o *Options, a *appT) {
					if !asked {
						withSnapshots(o, a)
					}
					if c.change != nil {
						c.change(o, a)
					}
				})
				r.publish("cache-x", "client-a", "own", keyed(c.key), func(e *broker.Event) { e.Origin = broker.OriginClient })
				for range 2 { // The second time, the snapshot comes from memory.
					p, _ := r.second()
					more := ""
					if asked {
						more = `,"rewind":{"latest":true}`
					}
					p.says("sockudo", subscribing("cache-x", more))
					p.hears(append(strings.Fields(c.want), "snapshot_complete")...)
					rd := r.get("channel=cache-x&since=latest")
					rd.want("subscribed")
					for _, want := range strings.Fields(c.want)[1:] {
						if e := rd.next(); !strings.Contains(e.data, want) {
							t.Errorf("the reader got %+v, want %s", e, want)
						}
					}
					rd.want("snapshot_complete")
					if !asked {
						v1, _ := r.connect()
						v1.says("pusher", subscribing("cache-x", ""))
						v1.hears(strings.Fields(c.want)...)
					}
				}
			})
		}
	}
}

// TestTime02AnEmptyCacheIsTold: cache_miss comes whatever else a subscription begins with.
func TestTime02AnEmptyCacheIsTold(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	at := r.publish("cache-x", "client-a", `"1"`, func(e *broker.Event) { e.Origin = broker.OriginClient })
	for more, want := range map[string]string{
		"": "success cache_miss", `,"rewind":1`: "success cache_miss 1 rewind_complete", `,"rewind":{"latest":true}`: "success cache_miss 1 snapshot_complete",
	} {
		p, _ := r.second()
		p.says("sockudo", subscribing("cache-x", more))
		p.hears(strings.Fields(want)...)
	}
	p, _ := r.second()
	p.says("sockudo", subscribing("cache-x", ""), resumingFrom("cache-x", broker.Position{Epoch: at.Epoch, Offset: at.Offset - 1}))
	p.hears("success", "cache_miss", "1", "resume_success")
	rd := r.get("channel=cache-x&since=1")
	for _, kind := range []string{"subscribed", "cache_miss", "client-a", "rewind_complete"} {
		rd.want(kind)
	}
}
