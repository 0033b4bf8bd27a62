package hub

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestLimitsAreCounted crosses each limit of a connection and checks that it is counted. The limits over all
// gateways are crossed in test/cluster.
func TestLimitsAreCounted(t *testing.T) {
	r := newRig(t, func(o *Options, a *app.App) {
		a.ClientEvents, a.ClientEventRate = true, 1
		o.MaxSubscriptions, o.MaxMessage = 1, 32<<10
	})
	counted := func(limit string) bool {
		families, err := r.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if f.GetName() == "sockudo_limits_total" && l.GetName() == "limit" && l.GetValue() == limit {
						return m.GetCounter().GetValue() > 0
					}
				}
			}
		}
		return false
	}
	p, id := r.connect()
	p.say(`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":%q}}`, "key:"+pusher.SignChannel("secret", id, "private-a", "", false))
	p.want("pusher_internal:subscription_succeeded")
	for _, c := range []struct{ limit, say string }{
		{"subscriptions", `{"event":"pusher:subscribe","data":{"channel":"b"}}`},
		{"channel_name", `{"event":"pusher:subscribe","data":{"channel":"` + strings.Repeat("x", 201) + `"}}`},
		{"event_name", `{"event":"client-` + strings.Repeat("x", 200) + `","channel":"private-a","data":1}`},
		{"client_event_payload", `{"event":"client-x","channel":"private-a","data":"` + strings.Repeat("x", 10300) + `"}`},
		{"client_event_rate", `{"event":"client-x","channel":"private-a","data":1}`},
	} {
		if counted(c.limit) {
			t.Errorf("%s was counted before it was crossed", c.limit)
		}
		p.say("%s", c.say)
		if c.limit == "client_event_rate" {
			p.say("%s", c.say)
		}
		m := p.want("pusher:error")
		if !counted(c.limit) {
			t.Errorf("%s was not counted: %s", c.limit, m.text)
		}
		if strings.HasPrefix(c.say, `{"event":"pusher:subscribe"`) {
			p.want("pusher:subscription_error")
		}
	}
	p.say(`{"event":"client-x","channel":"private-a","data":"%s"}`, strings.Repeat("x", 40<<10))
	if code := p.closed(); code != 1009 {
		t.Errorf("closed with %d", code)
	}
	eventually(t, "the message is counted", func() bool { return counted("message_size") })
}

// TestWS28_ErrorsHaveACodeAndAMessage provokes errors of every kind.
func TestWS28_ErrorsHaveACodeAndAMessage(t *testing.T) {
	r := newRig(t, nil)
	p, _ := r.connect()
	for _, say := range []string{
		`no JSON`, `{"event":7}`, `{"event":"pusher:subscribe","data":{}}`, `{"event":"pusher:subscribe","data":{"channel":"a b"}}`,
		`{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"key:0"}}`, `{"event":"pusher:signin","data":{}}`,
		`{"event":"client-x","channel":"private-a","data":1}`,
	} {
		p.say("%s", say)
		m := p.want("pusher:error")
		var data struct {
			Code    *json.Number `json:"code"`
			Message *string      `json:"message"`
		}
		if err := json.Unmarshal(m.Data, &data); err != nil || data.Message == nil || *data.Message == "" {
			t.Errorf("%s: %s: %v", say, m.text, err)
		}
		if data.Code != nil {
			if _, err := data.Code.Int64(); err != nil {
				t.Errorf("%s: %s: %v", say, m.text, err)
			}
		}
		if strings.Contains(say, `"channel":"a b"`) || strings.Contains(say, `"auth"`) {
			p.want("pusher:subscription_error")
		}
	}
}
