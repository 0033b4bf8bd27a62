package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// form publishes an event and returns its form: F, d or p for full, delta or plain.
func (d *decoder) form(r *rig, name, data string, change ...func(*broker.Event)) string {
	d.t.Helper()
	r.publish("market", name, data, change...)
	_, form := d.next()
	return map[string]string{"full": "F", "delta": "d", "plain": "p"}[form]
}

// TestDS11PlainEventsAreNotCounted: a plain event does not count in the interval of full frames.
func TestDS11PlainEventsAreNotCounted(t *testing.T) {
	never := func(e *broker.Event) { e.Delta = broker.DeltaNever }
	plain := map[string]func(d *decoder, r *rig, n int) string{
		"delta:false": func(d *decoder, r *rig, n int) string { return d.form(r, "tick", tick(n), never) },
		"small":       func(d *decoder, r *rig, _ int) string { return d.form(r, "tick", "hi") },
		"scalar":      func(d *decoder, r *rig, _ int) string { return d.form(r, "tick", `"`+strings.Repeat("x", 300)+`"`) },
		"empty":       func(d *decoder, r *rig, _ int) string { return d.form(r, "tick", "") },
	}
	for name, send := range plain {
		for _, path := range []string{"", "symbol"} {
			t.Run(fmt.Sprintf("DS-13 DS-14 DS-15 %s, path %q", name, path), func(t *testing.T) {
				r := newRig(t, func(_ *Options, a *appT) { a.Delta.Path = path })
				d, got := decode(r.subscribed("market", true)), ""
				for n := range 60 {
					if n%10 == 0 {
						got += send(d, r, 3*n)
					}
					got += d.form(r, "tick", tick(3*n)) // the same conflation value each time
				}
				if want := strings.Repeat("pFddddddddd", 6); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			})
		}
	}
	t.Run("one small event before the first", func(t *testing.T) {
		r := newRig(t, nil)
		d := decode(r.subscribed("market", true))
		if got := d.form(r, "tick", "hi"); got != "p" {
			t.Errorf("it came as %s", got)
		}
		for n := range 100 {
			d.form(r, "tick", tick(n))
		}
		if d.full != 10 || d.delta != 90 {
			t.Errorf("got %d full and %d delta frames, want 10 and 90", d.full, d.delta)
		}
	})
}

// TestDS20OldMarkersBesideTheData: an event with an old marker anywhere in its frame is sent plain, and the
// next one in full.
func TestDS20OldMarkersBesideTheData(t *testing.T) {
	r := newRig(t, nil)
	d := decode(r.subscribed("market", true))
	for name, change := range map[string]func(*broker.Event){
		"name":   func(e *broker.Event) { e.Name = "my__delta_seq" },
		"tag":    func(e *broker.Event) { e.Tags = map[string]string{"a": "__conflation_key"} },
		"id":     func(e *broker.Event) { e.MessageID = "__delta_seq" },
		"extras": func(e *broker.Event) { e.Extras = []byte(`{"__delta_seq":1}`) },
	} {
		d.form(r, "tick", tick(0))
		if got := d.form(r, "tick", tick(1)) + d.form(r, "tick", tick(2), change) + d.form(r, "tick", tick(3)) + d.form(r, "tick", tick(4)); got[1:3] != "pF" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// TestDS20EphemeralEventsPoison: an ephemeral event with an old marker, which is in no log, makes the next
// event of the sockets that get it full.
func TestDS20EphemeralEventsPoison(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	first, second := r.subscribed("market", true), r.subscribed("market", true)
	a, b := decode(first), decode(second)
	forms := func() string {
		_, one := a.next()
		_, two := b.next()
		return one + " " + two
	}
	r.publish("market", "tick", tick(0))
	forms()
	r.cast("market", "my__delta_seq", `{"n":1}`)
	if got := forms(); got != "plain plain" {
		t.Errorf("the ephemeral event came %s", got)
	}
	r.publish("market", "tick", tick(1))
	if got := forms(); got != "full full" {
		t.Errorf("the next one came %s", got)
	}
	r.cast("market", "typing", `{"n":2}`)
	forms()
	r.publish("market", "tick", tick(2))
	if got := forms(); got != "delta delta" {
		t.Errorf("after one that poisons nothing it came %s", got)
	}
}

// TestDS11ALogThatLostItsCount: the verdicts of a log that counts may follow other rules than those of this
// gateway, or the log may have lost its count.
func TestDS11ALogThatLostItsCount(t *testing.T) {
	feed := &handFeed{at: broker.Position{Epoch: "e"}}
	r := newRig(t, func(o *Options, _ *appT) { o.Feed = feed })
	d, got := decode(r.subscribed("market", true)), ""
	for n := range 41 {
		verdict := broker.CountedDelta
		if n == 0 || n == 15 {
			verdict = broker.CountedFull
		}
		feed.sink("market").Publication(&broker.Publication{
			Event:    broker.Event{Name: "tick", Data: []byte(tick(n))},
			Position: broker.Position{Epoch: "e", Offset: uint64(n + 1)}, Prev: uint64(n), Time: time.Unix(1_700_000_000, 0), Verdict: verdict,
		})
		_, form := d.next()
		got += form[:1]
	}
	if want := "fdddddddddfddddfdddddddddfdddddddddfddddd"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestCL02LateGatewaysCountWhatTakesPart: gateways that join at any time, and prime their count from the log,
// decide like a count of everything: the first of every N tracked publications of a value is full.
func TestCL02LateGatewaysCountWhatTakesPart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "b", "-a", "-b", "-c", "!a", "!b", "~a", "~b"}), 20, 120).Draw(rt, "events")
		joins := map[int]bool{}
		for range rapid.IntRange(1, 3).Draw(rt, "gateways") {
			joins[rapid.IntRange(0, len(events)-1).Draw(rt, "joins before")] = true
		}
		wrong := ""
		bubble(t, 1000, func(_ *testing.T, s *simCluster) {
			s.app.Delta.MinSize = rapid.SampledFrom([]int{10, 1000}).Draw(rt, "min size")
			<-s.join().served
			counts, want := map[string]int{}, map[uint64]bool{}
			for i, e := range events {
				if joins[i] {
					settle(2 * saveSpread) // until a due checkpoint is written
					<-s.join().served
				}
				p := s.publish(e)
				s.deliver()
				if e[0] == 'a' || e[0] == 'b' || e[0] == '~' && s.app.Delta.MinSize == 10 {
					want[p.Offset] = counts[p.ConflationKey]%4 == 0
					counts[p.ConflationKey]++
				}
			}
			for i, g := range s.gateways {
				for offset, full := range g.verdicts {
					if tracked, ok := want[offset]; !ok || full != tracked {
						wrong = fmt.Sprintf("gateway %d, publication %d: full is %v, want %v; tracked: %v", i, offset, full, tracked, ok)
					}
				}
			}
			if n := s.divergences(); n != 0 {
				wrong = fmt.Sprintf("%v checkpoints contradicted a count", n)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// TestCL02AnotherMinimumSize: gateways get another minimum size one after the other. Once all have it, they
// make the same decisions again, wherever checkpoints were written meanwhile.
func TestCL02AnotherMinimumSize(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SampledFrom([][2]int{{10, 1000}, {1000, 10}}).Draw(rt, "sizes")
		phase := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "~a", "-a", "!a"}), 0, 40)
		before, between := phase.Draw(rt, "before"), phase.Draw(rt, "between")
		wrong := ""
		bubble(t, 1000, func(t *testing.T, s *simCluster) {
			s.app.Delta.MinSize = sizes[0]
			for range 2 {
				<-s.join().served
			}
			s.publishAll(before...)
			settle(time.Second)
			next := *s.app
			next.Delta.MinSize = sizes[1]
			for i, g := range s.gateways {
				g.hub.opt.Apps.Replace(&next)
				g.hub.Apply(t.Context())
				if i == 0 {
					s.publishAll(between...)
				}
				settle(time.Second)
			}
			// A gateway that adopted another count ends the run of deltas that its own sockets see.
			s.publishAll(repeated("a", 8)...)
			settle(time.Second)
			settled := s.log.next
			s.publishAll(repeated("~a", 30)...)
			s.publishAll(repeated("a", 30)...)
			settle(time.Second)
			a, b := s.gateways[0].form(settled+1, s.log.next), s.gateways[1].form(settled+1, s.log.next)
			if plain := strings.HasPrefix(a, strings.Repeat("-", 30)); plain != (sizes[1] == 1000) {
				wrong = fmt.Sprintf("the rules are not those of size %d: %s", sizes[1], a)
			}
			if a != b || strings.Contains(a, "dddd") {
				wrong = fmt.Sprintf("one made %s\ntwo made %s", a, b)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}
