package hub

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime07ARewindAndAResume: a client may request a rewind with every subscription, and resume with a
// position as well. It gets the missed events once, and the end of its rewind. If the resume fails, it gets
// the rewind.
func TestTime07ARewindAndAResume(t *testing.T) {
	few := func(_ *Options, a *appT) { a.Recovery.MaxEvents = 1 }
	stranger := func(at broker.Position) broker.Position { return broker.Position{Epoch: "x", Offset: at.Offset} }
	for _, c := range []struct {
		name   string
		change func(*Options, *appT)
		says   func(at []broker.Position) [][2]string
		want   string
	}{
		{"RW-02 RE-01 a resume behind it", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":3`), resumingFrom("orders", at[2])}
		}, "success 4 rewind_complete resume_success"},
		{"by time", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":{"seconds":60}`), resumingFrom("orders", at[1])}
		}, "success 3 4 rewind_complete resume_success"},
		{"a snapshot", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":{"latest":true}`), resumingFrom("orders", at[0])}
		}, "success 2 3 4 snapshot_complete resume_success"},
		{"from before it", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":1`), resumingFrom("orders", at[0])}
		}, "success 2 3 4 rewind_complete resume_success"},
		{"RE-03 a position that is parked", nil, func(at []broker.Position) [][2]string {
			return [][2]string{resumingFrom("orders", at[2]), subscribing("orders", `,"rewind":3`)}
		}, "resume_success success 4 rewind_complete resume_success"},
		{"announced", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":3,"resumes":true`), resumingFrom("orders", at[2])}
		}, "success 4 rewind_complete resume_success"},
		{"RE-05 of another stream", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":3`), resumingFrom("orders", stranger(at[2]))}
		}, "success resume_failed resume_success 2 3 4 rewind_complete"},
		{"RE-05 of another stream, parked", nil, func(at []broker.Position) [][2]string {
			return [][2]string{resumingFrom("orders", stranger(at[2])), subscribing("orders", `,"rewind":3`)}
		}, "resume_success success resume_failed resume_success 2 3 4 rewind_complete"},
		{"RE-05 more than can be resumed, as the log shows", few, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":2`), resumingFrom("orders", at[0])}
		}, "success resume_failed resume_success 3 4 rewind_complete"},
		{"RE-05 likewise, a snapshot", few, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":{"latest":true}`), resumingFrom("orders", at[0])}
		}, "success resume_failed resume_success 3 4 snapshot_complete"},
		{"RE-05 likewise, where everybody gets a snapshot", func(o *Options, a *appT) { few(o, a); withSnapshots(o, a) }, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":3`), resumingFrom("orders", at[0])}
		}, "success resume_failed resume_success 2 3 4 rewind_complete"},
		{"subscribing again with it", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", ""), subscribing("orders", `,"rewind":3`), resumingFrom("orders", at[2])}
		}, "success success 4 rewind_complete resume_success"},
		{"unsubscribing", nil, func(at []broker.Position) [][2]string {
			return [][2]string{subscribing("orders", `,"rewind":3`), {"unsubscribe", `{"channel":"orders"}`}, subscribing("orders", ""), resumingFrom("orders", at[2])}
		}, "success success 4 resume_success"},
	} {
		for temperature, warm := range map[string]bool{"hot": true, "cold": false} {
			t.Run(c.name+", "+temperature, func(t *testing.T) {
				r := timeRig(t, memory.Options{}, c.change)
				var at []broker.Position
				if warm {
					other, _ := r.connect()
					other.subscribe("orders")
				}
				for n := 1; n <= 4; n++ {
					at = append(at, r.publishMany("orders", n, n, keyed(string(rune('a'+n%2)))).Position)
				}
				p, _ := r.second()
				p.says("sockudo", c.says(at)...)
				p.hears(strings.Fields(c.want)...)
				r.publish("orders", "tick", "live")
				p.hears("live")
				p.alive()
			})
		}
	}
}

// TestTime07ARewindEndsOnce: a rewind ends once, however many resumes come. Each resume has its summary. A
// resume fails if the next one comes while it is in progress.
func TestTime07ARewindEndsOnce(t *testing.T) {
	r := timeRig(t, memory.Options{}, nil)
	var at []broker.Position
	for n := 1; n <= 4; n++ {
		at = append(at, r.publishMany("orders", n, n).Position)
	}
	for range 20 {
		p, _ := r.second()
		p.says("sockudo", resumingFrom("orders", at[1]), subscribing("orders", `,"rewind":3`), resumingFrom("orders", at[2]), resumingFrom("orders", at[2]))
		said := map[string]int{}
		want := map[string]int{"success": 1, "resume_success": 4, "rewind_complete": 1}
		for said["resume_success"] < want["resume_success"] || said["rewind_complete"] == 0 {
			if l := p.next().label(); l != "3" && l != "4" && l != "resume_failed" {
				said[l]++
			}
		}
		p.alive()
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
	}
}
