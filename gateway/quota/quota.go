package quota

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/presence"
)

const (
	// patience is how long a connection waits at most for the decision.
	patience = time.Second
	// maxWaiting bounds the number of waiting connections. Further ones are [Unsure] at once.
	maxWaiting = 4096
)

// Quota counts and admits the connections of this gateway. Make it with [New]. Safe for concurrent use.
type Quota struct {
	roster  *presence.Roster
	waiting atomic.Int64

	mu   rank.Mutex[rank.Quota]
	here map[string]int
	// totals has the numbers on other gateways, for apps with a limit.
	totals map[string]*presence.Total
}

// New returns a quota without connections. roster is nil if there are no other gateways.
func New(roster *presence.Roster) *Quota {
	return &Quota{roster: roster, here: map[string]int{}, totals: map[string]*presence.Total{}}
}

// Enter counts a connection of an app and returns [Enter], or returns why the connection is refused. If the
// app has a limit, it waits a moment for other gateways to learn of the connection, because the next
// connection may be theirs. It waits up to a second if others must confirm that the limit is reached. If ctx
// ends meanwhile, it returns [Unsure].
func (q *Quota) Enter(ctx context.Context, a *app.App) Verdict {
	c := Case{Limit: a.Limits.MaxConnections, Until: time.Now().Add(patience)}
	v, _, total := q.judge(a, c, 0)
	if v == Wait {
		v = q.wait(ctx, a, c, total)
	}
	if v == Enter && c.Limit > 0 && q.roster != nil {
		q.roster.Told(a.ID, "")
	}
	return v
}

// judge decides about a connection, and counts it if it is admitted.
func (q *Quota) judge(a *app.App, c Case, question uint64) (v Verdict, moved <-chan struct{}, total *presence.Total) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var others presence.Standing
	if total = q.totals[a.ID]; total != nil && c.Limit > 0 {
		others, moved = total.Standing(question)
	}
	if v = c.Judge(time.Now(), q.here[a.ID], others); v == Enter {
		q.here[a.ID]++
		q.tell(a)
	}
	return v, moved, total
}

// wait asks the other gateways, and decides when their numbers are known.
func (q *Quota) wait(ctx context.Context, a *app.App, c Case, total *presence.Total) Verdict {
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > maxWaiting {
		return Unsure
	}
	ctx, cancel := context.WithDeadline(ctx, c.Until)
	defer cancel()
	question, err := total.Ask(ctx)
	if err != nil {
		question = 0 // without answers, the numbers may still fall
	}
	for {
		v, moved, now := q.judge(a, c, question)
		switch {
		case v != Wait:
			return v
		case now != total: // the limits of the app have changed
			return Unsure
		}
		select {
		case <-moved:
		case <-ctx.Done():
			if v, _, _ = q.judge(a, c, question); v == Wait {
				v = Unsure
			}
			return v
		}
	}
}

// Leave removes a connection from the count.
func (q *Quota) Leave(a *app.App) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.here[a.ID]--
	if q.tell(a); q.here[a.ID] == 0 {
		delete(q.here, a.ID) // The app may have been removed.
	}
}

// Tell writes the number of connections of an app on this gateway, if the app has a limit by now.
func (q *Quota) Tell(a *app.App) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tell(a)
}

// tell is Tell. The caller holds the lock.
func (q *Quota) tell(a *app.App) {
	if q.roster != nil && (a.Limits.MaxConnections > 0 || q.here[a.ID] == 0) {
		q.roster.SetCount(a.ID, "", q.here[a.ID])
	}
}

// Here returns the number of connections of an app on this gateway.
func (q *Quota) Here(app string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.here[app]
}

// All returns the number of connections on this gateway.
func (q *Quota) All() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, some := range q.here {
		n += some
	}
	return n
}

// Follow begins to count the connections of an app on other gateways, until stop is called. Errors: those of
// [presence.Roster.OpenTotal].
func (q *Quota) Follow(ctx context.Context, app string) (stop func(), err error) {
	total, err := q.roster.OpenTotal(ctx, app)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.totals[app] = total
	q.mu.Unlock()
	return func() {
		q.mu.Lock()
		if q.totals[app] == total {
			delete(q.totals, app)
		}
		q.mu.Unlock()
		total.Close()
	}, nil
}

// Elsewhere returns the number of connections of an app on other gateways, as the table has it, and whether
// that is followed.
func (q *Quota) Elsewhere(app string) (n int, followed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if total := q.totals[app]; total != nil {
		others, _ := total.Standing(0)
		return others.Others, true
	}
	return 0, false
}

// Leaving says that the connections of this gateway are being closed from now on.
func (q *Quota) Leaving() {
	if q.roster != nil {
		q.roster.Leaving()
	}
}
