package hub

import (
	"context"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// slowPages is a history whose After waits for goOn before it returns a page; a single publication is
// returned at once.
type slowPages struct {
	broker.History
	asked, goOn chan struct{}
	// newest: Read waits as well, except for a single publication.
	newest bool
}

func (h *slowPages) wait(whole bool) {
	if whole {
		select {
		case h.asked <- struct{}{}:
		default:
		}
		<-h.goOn
	}
}

func (h *slowPages) After(ctx context.Context, app, channel string, at broker.Position, limit int) (*broker.Page, error) {
	h.wait(limit > 1)
	return h.History.After(ctx, app, channel, at, limit)
}

func (h *slowPages) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	h.wait(h.newest && !q.Bare && q.Limit > 1)
	return h.History.Read(ctx, app, channel, q)
}

// TestTime16AFailedResumeIsToldOnce: when a gap ends the resume of a client that also rewinds, it is told the
// failure once, and then that the rewind is incomplete. Before, the failure was told twice, as if two things
// had failed.
func TestTime16AFailedResumeIsToldOnce(t *testing.T) {
	for wish, end := range map[string]string{`3`: "rewind_complete", `{"latest":true}`: "snapshot_complete"} {
		t.Run(end, func(t *testing.T) {
			slow := &slowPages{asked: make(chan struct{}, 1), goOn: make(chan struct{})}
			goOn := sync.OnceFunc(func() { close(slow.goOn) })
			r := timeRig(t, memory.Options{}, func(o *Options, a *appT) {
				slow.History, o.History = o.History, slow
				a.Delta = app.Delta{} // with deltas, memory would have all of it
			})
			t.Cleanup(goOn)
			at := r.publishMany("orders", 1, 1).Position
			last := r.publishMany("orders", 2, 5).Position
			p, _ := r.second()
			p.says("sockudo", subscribing("orders", `,"rewind":`+wish), resumingFrom("orders", at))
			p.hears("success")
			<-slow.asked
			g := broker.Gap{After: last, Resume: broker.Position{Epoch: last.Epoch, Offset: last.Offset + 10}, Reason: broker.GapEvicted}
			r.channel("orders").Gap(g)
			var f failure
			p.want("sockudo:resume_failed").inner(t, &f)
			if f.Code != "position_expired" {
				t.Errorf("the failure is %+v", f)
			}
			// The summary may come anywhere after the failure.
			var s summary
			var said struct {
				Complete  bool
				Retention bool `json:"truncated_by_retention"`
			}
			for into := map[string]any{"sockudo:resume_success": &s, "sockudo:" + end: &said}; len(into) > 0; {
				m := p.next()
				if into[m.Event] == nil {
					t.Fatalf("got %s", m.text)
				}
				m.inner(t, into[m.Event])
				delete(into, m.Event)
			}
			if len(s.Recovered) != 0 || len(s.Failed) != 1 {
				t.Errorf("the summary is %+v", s)
			}
			if said.Complete || said.Retention != (end == "rewind_complete") {
				t.Errorf("it ended with %+v, though not all came", said)
			}
			p.alive()
		})
	}
}
