package fanout

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/socket"
)

// TestDS23ValuesStayWhenTheRulesHaveNone: the rules have conflation values, then none, then some again. A
// client that has seen a value expects values from then on: each frame names one, and each delta is against a
// frame with the same value. A client that has seen none never gets one. If the texts differ from those for a
// new subscription, the sequence numbers differ too.
func TestDS23ValuesStayWhenTheRulesHaveNone(t *testing.T) {
	for name, f := range map[string]Form{"by value": Delta | Keyed, "a single base": Delta} {
		t.Run(name, func(t *testing.T) {
			x := newSubject(t, f)
			c := x.stage.channels[0]
			texts := map[string]string{}
			get := func(key, form, value string) {
				t.Helper()
				p := x.publication("tick", key)
				frame, _ := x.list.frame(x.sub, p)
				x.list.received(x.sub, p)
				p.passed(x.list)
				text, got := frame.Payload(), "full"
				var m message
				if err := json.Unmarshal(text, &m); err != nil {
					t.Fatal(err)
				}
				if m.Event == "pusher:delta" {
					var d deltaData
					if err := json.Unmarshal(m.Data, &d); err != nil {
						t.Fatal(err)
					}
					raw, err := base64.StdEncoding.DecodeString(d.Delta)
					if err != nil {
						t.Fatal(err)
					}
					key := ""
					if d.Key != nil {
						key = *d.Key
					}
					if text, err = delta.ApplyFossil(nil, []byte(texts[key]), raw, 1<<20); err != nil {
						t.Fatalf("the delta %s does not start from the last frame with its value: %v", m.Data, err)
					}
					got, m = "delta", message{}
					if err := json.Unmarshal(text, &m); err != nil {
						t.Fatal(err)
					}
				}
				key = ""
				if m.Key != nil {
					key = *m.Key
				}
				if (m.Key != nil) != (f&Keyed != 0) || key != value && f&Keyed != 0 || got != form {
					t.Errorf("got %s, %s; want it %s with the value %q", got, text, form, value)
				}
				if same := uint32(*m.Sequence) == p.number; same != (f&Keyed == 0 || c.Rules().Keyed) {
					t.Errorf("%s has the number of a frame with another text: %v", text, same)
				}
				texts[key] = string(text)
			}
			govern := func(change func(r *Rules)) {
				r := *c.Rules()
				change(&r)
				c.Govern(&r)
				c.owned = NewBases(c.Line)
				c.owned.Begin("e")
			}
			get("a", "full", "a")
			get("a", "delta", "a")
			keyed := *c.Rules()
			govern(func(r *Rules) { r.Keyed, r.Conflates = false, false })
			get("a", "full", "")
			get("b", "delta", "")
			x.list.index = map[*socket.Outbox]int32{x.sub.out: 0}
			x.list.Reform(x.sub.out, Delta|VCDIFF)
			x.list.Reform(x.sub.out, Delta)
			get("a", "delta", "")
			govern(func(r *Rules) { *r = keyed })
			get("a", "full", "a")
			get("a", "delta", "a")
		})
	}
}
