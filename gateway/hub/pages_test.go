package hub

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker/memory"
)

func TestTime01PagesOfHistory(t *testing.T) {
	answers, asked := make(chan string), make(chan PageRequest, 10)
	r := timeRig(t, memory.Options{}, func(o *Options, _ *appT) {
		o.Page = func(ctx context.Context, want PageRequest) ([]byte, error) {
			asked <- want
			select {
			case a := <-answers:
				if a == "" {
					return nil, errors.New("limit is wrong")
				}
				return []byte(a), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
	at := r.publishMany("orders", 1, 3)
	p, _ := r.second()
	p.join("orders", "")
	ask := func(data string) { p.say(`{"event":"sockudo:channel_history","data":%s}`, data) }
	t.Run("HI-10 a third request at a time is refused, and others are served meanwhile", func(t *testing.T) {
		ask(`{"channel":"orders","limit":5,"end":7}`)
		ask(`{"channel":"orders","until_attach":true}`)
		first, second := <-asked, <-asked
		if second.Params.Get("limit") == "5" {
			first, second = second, first
		}
		if first.Channel != "orders" || first.Params.Get("limit") != "5" || first.Params.Get("end_time_ms") != "7" || first.UntilAttach || first.MaxBytes <= 0 {
			t.Errorf("asked for %+v", first)
		}
		if !second.UntilAttach || second.Attach != at.Position {
			t.Errorf("asked for %+v, want what came until %d", second, at.Offset)
		}
		ask(`{"channel":"orders"}`)
		if m := p.want("sockudo:error"); !strings.Contains(m.text, "4100") || !strings.Contains(m.text, "channel_history") {
			t.Errorf("got %s", m.text)
		}
		p.alive()
		answers <- `{"items":[]}`
		if m := p.want("sockudo:channel_history"); m.Channel != "orders" || string(m.Data) != `{"items":[]}` {
			t.Errorf("got %s", m.text)
		}
		answers <- ""
		if m := p.want("sockudo:error"); !strings.Contains(m.text, "limit is wrong") {
			t.Errorf("got %s", m.text)
		}
		ask(`{"channel":"orders"}`)
		<-asked
		answers <- `{}`
		p.want("sockudo:channel_history")
	})
	t.Run("HI-10 channels that are not subscribed are refused", func(t *testing.T) {
		r.publishMany("private-secrets", 1, 1)
		for _, data := range []string{`{"channel":"private-secrets"}`, `{"channel":"never"}`, `{}`, `[]`, `7`, `{"channel":7}`} {
			ask(data)
			p.want("sockudo:error")
		}
		if len(asked) != 0 {
			t.Errorf("the log was asked for %+v", <-asked)
		}
		p.alive()
	})
	t.Run("who leaves while it is read is no harm", func(t *testing.T) {
		q, _ := r.second()
		q.join("orders", "")
		q.say(`{"event":"channel_history","data":{"channel":"orders"}}`)
		<-asked
		q.hangUp()
		answers <- `{}`
		p.alive()
	})
}
