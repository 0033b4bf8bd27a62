package hub

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestTimeAResetChannelIsReadFromItsBeginning: a client that asks for everything of a channel that was reset
// or purged gets the events since then.
func TestTimeAResetChannelIsReadFromItsBeginning(t *testing.T) {
	for operation, erase := range map[string]func(e *erasableRig, stream string) string{
		"purge": func(e *erasableRig, stream string) string { e.purge("orders", 0); return stream },
		"reset": func(e *erasableRig, _ string) string { return e.reset("orders").Present },
	} {
		t.Run(operation, func(t *testing.T) {
			e := newErasableRig(t, nil)
			e.both(func(_ string, r *rig) {
				p, _ := r.second()
				p.join("orders", "")
			})
			last := e.tell("orders", 1, 5)
			stream := erase(e, last.Epoch)
			e.both(func(_ string, r *rig) { r.forgotten("orders", stream, last.Offset) })
			serial := uint64(0)
			if operation == "purge" {
				serial = last.Offset
			}
			e.tell("orders", 6, 8)
			var peers []*peer
			e.both(func(name string, r *rig) {
				p, _ := r.second()
				p.join("orders", "")
				p.from("orders", stream, serial, "")
				if diff := cmp.Diff(numbers(6, 8), p.events(3)); diff != "" {
					t.Errorf("%s: from the beginning (-want +got):\n%s", name, diff)
				}
				p.summaryOf(1, 0)
				q, _ := r.second()
				q.join("orders", `,"rewind":20`)
				if diff := cmp.Diff(numbers(6, 8), q.events(3)); diff != "" {
					t.Errorf("%s: rewound (-want +got):\n%s", name, diff)
				}
				q.rewound()
				rd := r.get("channel=orders", fmt.Sprintf("Last-Event-ID: %s:%d", stream, serial))
				rd.want("subscribed")
				if got, _ := rd.takes(3); !cmp.Equal(got, []string{"orders 6", "orders 7", "orders 8"}) {
					t.Errorf("%s: the stream has %q", name, got)
				}
				rd.want("resumed")
				rd.hangUp()
				peers = append(peers, p, q)
			})
			e.tell("orders", 9, 9)
			for _, p := range peers {
				if diff := cmp.Diff(numbers(9, 9), p.events(1)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestTimeARecordThatAnEventOvertook: the record of a purge may arrive after the first event behind the
// purge. That event is kept for every client, and subscribers go on.
func TestTimeARecordThatAnEventOvertook(t *testing.T) {
	for name, until := range map[string]uint64{"where the log was": 0, "no bound": 1<<64 - 1} {
		t.Run(name, func(t *testing.T) {
			for _, stream := range []string{"", "-x"} {
				e := newErasableRig(t, nil)
				bystander, _ := e.second()
				bystander.join("orders", "")
				held, _ := e.second()
				held.join("orders", `,"resumes":true`)
				last := e.tell("orders", 1, 3)
				bystander.events(3)
				e.channel("orders").Forget(broker.Position{Epoch: last.Epoch + stream, Offset: until})
				e.forgotten("orders", last.Epoch+stream, last.Offset)
				held.from("elsewhere", "x", 1, "") // this ends the wait for a resume
				held.summary()
				if stream == "" { // The log itself has no other epoch.
					if diff := cmp.Diff(numbers(1, 3), held.events(3)); diff != "" {
						t.Errorf("held (-want +got):\n%s", diff)
					}
					p, _ := e.second()
					if m := p.join("orders", `,"rewind":20`); until == 0 && m.Serial != last.Offset {
						t.Errorf("the first frame is %s, want serial %d", m.text, last.Offset)
					}
					if diff := cmp.Diff(numbers(1, 3), p.events(3)); diff != "" {
						t.Errorf("rewound (-want +got):\n%s", diff)
					}
					p.rewound()
				}
				e.tell("orders", 4, 4)
				if diff := cmp.Diff(numbers(4, 4), bystander.events(1)); diff != "" {
					t.Error(diff)
				}
				p, _ := e.second()
				if m := p.join("orders", ""); m.Serial != last.Offset+1 {
					t.Errorf("the first frame is %s, want serial %d", m.text, last.Offset+1)
				}
			}
		})
	}
}

// TestTimeACachedEventThatOvertookTheRecord: the newest event of a cache channel is kept as well, if it
// arrived before the record.
func TestTimeACachedEventThatOvertookTheRecord(t *testing.T) {
	e := newErasableRig(t, nil)
	p, _ := e.second()
	p.join("cache-x", "")
	p.want("sockudo:cache_miss")
	last := e.tell("cache-x", 1, 1)
	p.events(1)
	e.channel("cache-x").Forget(broker.Position{Epoch: last.Epoch, Offset: last.Offset - 1})
	e.forgotten("cache-x", last.Epoch, last.Offset)
	q, _ := e.second()
	q.join("cache-x", "")
	if diff := cmp.Diff(numbers(1, 1), q.events(1)); diff != "" {
		t.Error(diff)
	}
}

// TestTimeAFilterHoldsForTheEventOfACache: a filter applies to the cached event as to any other, however the
// subscription begins.
func TestTimeAFilterHoldsForTheEventOfACache(t *testing.T) {
	const onlyA, onlyB = `{"key":"k","cmp":"eq","val":"a"}`, `{"key":"k","cmp":"eq","val":"b"}`
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) { o.Filters = true })
	r.publish("cache-x", "tick", "1", tagged(map[string]string{"k": "a"}))
	r.publish("cache-x", "tick", "2", tagged(map[string]string{"k": "b"}))
	for more, want := range map[string][]string{
		`,"filter":` + onlyA:                nil,
		`,"filter":` + onlyB:                {"2"},
		`,"resumes":true,"filter":` + onlyA: nil,
		`,"resumes":true,"filter":` + onlyB: {"2"},
		`,"rewind":5,"filter":` + onlyA:     {"1"},
		``:                                  {"2"},
	} {
		p, _ := r.second()
		p.join("cache-x", more)
		p.from("elsewhere", "x", 1, "") // this ends the wait for a resume
		var got []string
		for ends := 1 + strings.Count(more, "rewind"); ends > 0 || len(got) < len(want); {
			switch m := p.next(); m.Event {
			case "tick":
				got = append(got, m.str())
			case "sockudo:resume_success", "sockudo:rewind_complete":
				ends--
			default:
				t.Fatalf("%s: got %s", more, m.text)
			}
		}
		p.alive()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", more, diff)
		}
		// Changing the filter does not bring the event either.
		p.join("cache-x", `,"filter":`+onlyA)
		p.alive()
	}
	for more, want := range map[string][]string{"&filter=" + url.QueryEscape(onlyA): nil, "": {"cache-x 2"}} {
		rd := r.get("channel=cache-x" + more)
		rd.want("subscribed")
		if len(want) > 0 {
			if got, _ := rd.takes(1); !cmp.Equal(got, want) {
				t.Errorf("the stream has %q", got)
			}
		}
		r.publish("cache-x", "tick", "3", tagged(map[string]string{"k": "a"}))
		if got, _ := rd.takes(1); !cmp.Equal(got, []string{"cache-x 3"}) {
			t.Errorf("the stream has %q", got)
		}
		last := r.publish("cache-x", "tick", "2", tagged(map[string]string{"k": "b"}))
		r.settled("cache-x", last.Offset) // or the next reader would be sent the event before it
		rd.hangUp()
	}
}

// TestTimeWhatExcludesASocketDoesSoInTheLogToo: an event published without a socket is not sent to that
// socket from the log either.
func TestTimeWhatExcludesASocketDoesSoInTheLogToo(t *testing.T) {
	for _, window := range []int{3, 100} {
		r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) { a.Recovery.MaxEvents = window })
		p, id := r.second()
		p.join("orders", "")
		p.alive()
		r.publish("orders", "tick", "0")
		p.events(1)
		r.publishMany("orders", 1, 8, func(e *broker.Event) { e.ExcludeSocket = id })
		p.alive()
		for _, more := range []string{`20`, `{"latest":true}`} {
			p.join("orders", `,"rewind":`+more)
			for ended := false; !ended; {
				switch m := p.next(); {
				case strings.HasSuffix(m.Event, "_complete"):
					ended = true
				case m.str() != "0":
					t.Errorf("window %d, rewind %s: it gets %s", window, more, m.text)
				}
			}
		}
		other, _ := r.second()
		other.join("orders", `,"rewind":20`)
		if diff := cmp.Diff(numbers(0, 8), other.events(9)); diff != "" {
			t.Errorf("another socket (-want +got):\n%s", diff)
		}
		other.rewound()
	}
}

// TestTimeASnapshotIsMadeUnderTheRulesOfNow: changed rules for the history of a channel apply to an attached
// channel at once.
func TestTimeASnapshotIsMadeUnderTheRulesOfNow(t *testing.T) {
	bounds := func(most uint64) *app.Readings {
		return app.NewReadings([]app.ReadingPattern{{Match: "ticker*", Reading: app.Reading{Messages: int(most)}}})
	}
	values := func(most int) []app.SnapshotPattern {
		return []app.SnapshotPattern{{Match: "ticker*", Snapshot: app.Snapshot{On: true, MaxValues: most}}}
	}
	for name, change := range map[string]func(a *appT, most int){
		"channel_history":                func(a *appT, most int) { a.Readings = bounds(uint64(most)) },
		"max_values of channel_snapshot": func(a *appT, most int) { a.Snapshots = values(most) },
	} {
		t.Run(name, func(t *testing.T) {
			r := snapshotRig(t, memory.Options{}, func(_ *Options, a *appT) { change(a, 2) })
			for _, n := range numbers(0, 5) {
				r.publish("ticker-1", "tick", n, func(e *broker.Event) { e.ConflationKey, e.HasKey = n, true })
			}
			for _, most := range []int{2, 100, 3} {
				next := *r.app
				change(&next, most)
				r.hub.opt.Apps.Replace(&next)
				r.hub.Apply(t.Context())
				want := min(most, 6)
				p, _ := r.second()
				p.join("ticker-1", "")
				p.events(want)
				if got := p.snapshotted(); got.Count != want {
					t.Errorf("with %d the snapshot is %+v", most, got)
				}
			}
		})
	}
}
