package hub

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestDS29BasesOfOtherRulesAreNone: a client resumes with its bases on a gateway whose rules give other texts
// for the same events. It gets no delta against such a base, which would decode to garbage, and no sequence
// number that it knows names another text.
func TestDS29BasesOfOtherRulesAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(a *appT)
		form   string
	}{
		"the same rules":         {func(*appT) {}, "delta"},
		"another interval":       {func(a *appT) { a.Delta.Interval = 50 }, "delta"},
		"no tags":                {func(a *appT) { a.Delta.DeliverTags = false }, "full"},
		"other values":           {func(a *appT) { a.Delta.Path = "n" }, "full"},
		"no conflation values":   {func(a *appT) { a.Delta.Path = "" }, "full"},
		"no serials, no history": {func(a *appT) { a.HistoryEnabled, a.Recovery = false, app.Recovery{} }, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := timeRig(t, memory.Options{}, func(_ *Options, a *appT) {
				a.Delta.Path, a.Delta.Interval, a.Delta.DeliverTags = "k", 100, true
			})
			other := newRig(t, func(o *Options, a *appT) {
				o.Feed, o.History, o.Publisher = r.log, r.log, r.log
				*a = *r.app
				c.change(a)
			})
			_ = other.log.Close()
			other.log = unclosed{r.log}
			open := func(r *rig) (*peer, message) {
				p, _ := r.second()
				p.say(`{"event":"sockudo:enable_delta_compression","data":{}}`)
				p.want("sockudo:delta_compression_enabled")
				return p, p.join("market", "")
			}
			n := 0
			publish := func() broker.Receipt {
				n++
				return r.publish("market", "tick", padded(fmt.Sprintf(`"k":"a","n":%d`, n)), func(ev *broker.Event) { ev.Tags = map[string]string{"t": "x"} })
			}
			p, at := open(r)
			before := decode(p)
			last := uint64(0)
			for _, want := range []string{"full", "delta", "delta"} {
				last = publish().Offset
				if _, form := before.next(); form != want {
					t.Fatalf("event %d came %s", n, form)
				}
			}
			here := r.channel("market")
			salt := delta.Number(0, here.Rules().Salt(here.Line, at.StreamID))
			p.hangUp()
			p, _ = open(other)
			if there := other.channel("market"); (there.Rules().Salt(there.Line, at.StreamID) == here.Rules().Salt(here.Line, at.StreamID)) != (c.form == "delta") {
				t.Error("numbers are not those of the texts")
			}
			if other.app.Recovery.Enabled {
				p.from("market", at.StreamID, last, fmt.Sprintf(`,"bases_since":%d,"bases_salt":%d`, at.Serial, salt))
				p.want("sockudo:resume_success")
			}
			after := decode(p)
			after.bases = before.bases
			publish()
			if _, form := after.next(); form != c.form {
				t.Errorf("the next event comes %s, want %s", form, c.form)
			}
		})
	}
}
