package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker/memory"
)

// TestTime16SubscribingAgainDropsNothing: events published while a subscription waits for a resume are kept
// for it. Subscribing again with a shorter rewind still delivers all of them.
func TestTime16SubscribingAgainDropsNothing(t *testing.T) {
	for _, c := range []struct {
		rewind      string
		first, sent int
	}{
		{`2`, 6, 10}, {`{"count":12}`, 4, 12}, {`{"seconds":3600}`, 1, 15},
	} {
		r := timeRig(t, memory.Options{}, nil)
		r.publishMany("orders", 1, 5)
		p, _ := r.second()
		p.join("orders", `,"resumes":true`) // It waits for the announced resume.
		r.publishMany("orders", 6, 15)
		p.join("orders", `,"rewind":`+c.rewind)
		p.say(`{"event":"sockudo:resume","data":{"channel_positions":{}}}`) // There is no position, so the subscription goes on.
		var got []string
		said := rewindSaid{}
		for told := 0; told < 2; {
			switch m := p.next(); m.Event {
			case "sockudo:error":
				told++
			case "sockudo:rewind_complete":
				told++
				m.inner(t, &said)
			default:
				got = append(got, m.str())
			}
		}
		if diff := cmp.Diff(numbers(c.first, 15), got); diff != "" {
			t.Errorf("rewind %s (-want +got):\n%s", c.rewind, diff)
		}
		if said.History != c.sent || said.Live != 0 || !said.Complete {
			t.Errorf("rewind %s: %+v", c.rewind, said)
		}
		r.publishMany("orders", 16, 16)
		if diff := cmp.Diff(numbers(16, 16), p.events(1)); diff != "" {
			t.Errorf("live (-want +got):\n%s", diff)
		}
	}
}
