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
	// patience is how long a connection waits at most until it is known whether there is room for it.
	patience = time.Second
	// maxWaiting bounds how many wait. Further ones are [Unsure] at once.
	maxWaiting = 4096
)

// Quota counts the connections of this gateway and lets them in. Make it with [New]. Safe for use by many
// goroutines.
type Quota struct {
	roster  *presence.Roster
	waiting atomic.Int64

	mu   rank.Mutex[rank.Quota]
	here map[string]int
	// totals follow the connections of apps that have a limit of them.
	totals map[string]*presence.Total
}

// New returns a quota without connections. roster is nil if there are no other gateways.
func New(roster *presence.Roster) *Quota {
	return &Quota{roster: roster, here: map[string]int{}, totals: map[string]*presence.Total{}}
}

// Enter counts a connection of an app and returns [Enter], or says why not. If the app has a limit, it waits a
// moment for the others to learn of the connection, because the next one may be theirs, or for the others to
// confirm that there are too many, for a second at most. If ctx ends meanwhile it is [Unsure].
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

// judge decides about a connection and counts it if it is let in.
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

// wait asks the other gateways and decides when it is known what they have.
func (q *Quota) wait(ctx context.Context, a *app.App, c Case, total *presence.Total) Verdict {
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > maxWaiting {
		return Unsure
	}
	ctx, cancel := context.WithDeadline(ctx, c.Until)
	defer cancel()
	question, err := total.Ask(ctx)
	if err != nil {
		question = 0 // what is not confirmed may still prove wrong
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

// Leave takes a connection back.
func (q *Quota) Leave(a *app.App) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.here[a.ID]--
	if q.tell(a); q.here[a.ID] == 0 {
		delete(q.here, a.ID) // The app may be gone for good.
	}
}

// Tell writes how many connections of an app there are here, if anybody has come to want to know.
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

// Here is how many connections of an app this gateway has.
func (q *Quota) Here(app string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.here[app]
}

// All is how many connections this gateway has.
func (q *Quota) All() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, some := range q.here {
		n += some
	}
	return n
}

// Follow counts the connections of an app on other gateways from now on. Errors: those of
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

// Elsewhere is how many connections of an app other gateways have, as the table has it, and whether that is
// followed.
func (q *Quota) Elsewhere(app string) (n int, followed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if total := q.totals[app]; total != nil {
		others, _ := total.Standing(0)
		return others.Others, true
	}
	return 0, false
}

// Leaving says that the connections of this gateway are asked to leave it from now on.
func (q *Quota) Leaving() {
	if q.roster != nil {
		q.roster.Leaving()
	}
}
