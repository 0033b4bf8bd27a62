package hub

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

// leaderless is a history whose next reads, left in number, fail.
type leaderless struct {
	broker.History
	left atomic.Int64
}

func (l *leaderless) away() error {
	if l.left.Add(-1) >= 0 {
		return fmt.Errorf("%w: the servers choose a leader", broker.ErrUnavailable)
	}
	return nil
}

func (l *leaderless) Retained(ctx context.Context, app, channel string) (broker.Retained, error) {
	if err := l.away(); err != nil {
		return broker.Retained{}, err
	}
	return l.History.Retained(ctx, app, channel)
}

func (l *leaderless) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	if err := l.away(); err != nil {
		return nil, err
	}
	return l.History.Read(ctx, app, channel, q)
}

func (l *leaderless) After(ctx context.Context, app, channel string, pos broker.Position, limit int) (*broker.Page, error) {
	if err := l.away(); err != nil {
		return nil, err
	}
	return l.History.After(ctx, app, channel, pos, limit)
}

// TestTime04AResumeWaitsForALeader: a client that resumes while the servers of the log elect a leader gets
// the missed events after the election, and not a gap. The same holds for a subscription with a snapshot or a
// rewind.
func TestTime04AResumeWaitsForALeader(t *testing.T) {
	for name, c := range map[string]struct {
		ask  func(r *rig, at broker.Position) []string
		want []string
	}{
		"a socket resumes": {func(r *rig, at broker.Position) []string {
			p, _ := r.second()
			p.raw(append(masked(1, []byte(`{"event":"sockudo:subscribe","data":{"channel":"ticker"}}`)),
				masked(1, fmt.Appendf(nil, `{"event":"sockudo:resume","data":{"channel_positions":{"ticker":{"stream_id":%q,"serial":%d}}}}`, at.Epoch, at.Offset))...))
			p.want("sockudo_internal:subscription_succeeded")
			return p.events(4)
		}, numbers(2, 5)},
		"a reader comes back": {func(r *rig, at broker.Position) []string {
			rd := r.get("channel=ticker", "Last-Event-ID: "+onePlace(at.Epoch, at.Offset))
			rd.want("subscribed")
			got, _ := rd.takes(4)
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], "ticker ")
			}
			return got
		}, numbers(2, 5)},
		"a socket begins with the past": {func(r *rig, _ broker.Position) []string {
			p, _ := r.second()
			p.join("ticker", `,"rewind":4`)
			return p.events(4)
		}, numbers(2, 5)},
		"a reader begins with the past": {func(r *rig, _ broker.Position) []string {
			rd := r.get("channel=ticker&since=4")
			rd.want("subscribed")
			got, _ := rd.takes(4)
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], "ticker ")
			}
			return got
		}, numbers(2, 5)},
		"a snapshot": {func(r *rig, at broker.Position) []string {
			p, _ := r.second()
			p.join("ticker", `,"rewind":{"latest":true}`)
			got := p.events(1)
			if s := p.snapshotted(); !s.Complete {
				t.Errorf("got %+v", s)
			}
			return got
		}, numbers(5, 5)},
	} {
		t.Run(name, func(t *testing.T) {
			one := timeRig(t, memory.Options{}, nil)
			at := one.publishMany("ticker", 1, 1, keyed("a"))
			one.publishMany("ticker", 2, 5, keyed("a"))
			var log *leaderless
			r := newRig(t, func(o *Options, a *app.App) {
				log = &leaderless{History: one.log}
				o.Feed, o.History, o.Publisher = one.log, log, one.log
				*a = *one.app
				// With this limit the log is read to know what may be seen, whatever is in memory.
				a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "*", Reading: app.Reading{Messages: 100}}})
			})
			_ = r.log.Close()
			r.log = one.log
			p, _ := r.second()
			p.join("ticker", "") // The channel is attached already.
			log.left.Store(4)
			if diff := cmp.Diff(c.want, c.ask(r, at.Position)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if log.left.Load() > 0 {
				t.Error("the log was not asked")
			}
		})
	}
}
