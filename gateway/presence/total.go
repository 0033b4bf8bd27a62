package presence

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

const (
	// askPause is the least time between two questions of a gateway about one app. answerPause is the time
	// between a question and the answer, which also answers later questions. In that time, a gateway also
	// notices that a client has left it that is at another gateway already.
	askPause    = 200 * time.Millisecond
	answerPause = 100 * time.Millisecond
	// answersStay is how long questions and answers stay in the table. Old ones are not read.
	answersStay = time.Minute
)

// Total is the number of connections of an app on all gateways, as this gateway follows it. A dead gateway
// counts until its lease has ended, so the number may be too high for a while; [Total.Ask] finds out which
// part of it is certain.
type Total struct {
	roster *Roster
	app    string
	room   *Room
	stop   func()
	asks   broker.Rounds[struct{}, uint64]
	// asked is when the last question was written. Only the function of a round of asks uses it.
	asked time.Time

	// answers are the latest answers of the other gateways, by name. The lock of the room guards them.
	answers map[string]totalAnswer
}

// totalAnswer is how many connections a gateway had when it had read a question.
type totalAnswer struct {
	connections int
	question    uint64 // the revision of the question
}

// Standing is what is known of the connections of an app on other gateways.
type Standing struct {
	// Others is their number in the table. Confirmed is how many of them their gateways have confirmed since
	// the question.
	Others, Confirmed int
}

func totalKey(app string) string { return "quota." + name.Key(app) }

// OpenTotal follows the connections of an app, and answers the questions of other gateways about those of
// this one. Close ends it. Only one of an app may be open at a time. Errors: those of the table, or of ctx.
func (r *Roster) OpenTotal(ctx context.Context, app string) (*Total, error) {
	room, err := r.Open(ctx, app, "", nil)
	if err != nil {
		return nil, err
	}
	t := &Total{roster: r, app: app, room: room, answers: map[string]totalAnswer{}}
	if t.stop, err = r.opt.Table.Watch(totalKey(app)+".>", t); err != nil {
		room.Close()
		return nil, err
	}
	return t, nil
}

// Close stops following.
func (t *Total) Close() {
	t.stop()
	t.room.Close()
}

// Changed implements [kv.Watcher].
func (t *Total) Changed(rec kv.Record) {
	rest, _ := strings.CutPrefix(rec.Key, totalKey(t.app)+".")
	if rest == "question" {
		if string(rec.Value) != t.roster.opt.Node {
			t.roster.answerLater(t.app, rec.Revision)
		}
		return
	}
	key, ok := strings.CutPrefix(rest, "answer.")
	node, err := name.Decode(key)
	var a totalAnswer
	if !ok || err != nil {
		return
	}
	if _, err = fmt.Sscanf(string(rec.Value), "%d %d", &a.connections, &a.question); err != nil {
		return
	}
	m, view := t.room, t.roster.view.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	t.answers[node] = a
	// Answers of gateways that are gone are not replaced any more.
	maps.DeleteFunc(t.answers, func(of string, old totalAnswer) bool { return old.question < a.question && !view.alive(of) })
	close(m.moved)
	m.moved = make(chan struct{})
}

// Lost implements [kv.Watcher]. A connection that waits for a lost answer is refused for a moment, and its
// retry asks again.
func (t *Total) Lost() {}

// Ask asks the other gateways how many connections they have, once for all concurrent callers, and returns
// the revision of the question. Errors: those of the table, or of ctx.
func (t *Total) Ask(ctx context.Context) (question uint64, err error) {
	return t.asks.Do(ctx, struct{}{}, func(ctx context.Context) (uint64, error) {
		if !pause(ctx, time.Until(t.asked.Add(askPause))) {
			return 0, ctx.Err()
		}
		t.asked = time.Now()
		return t.roster.opt.Table.Put(ctx, totalKey(t.app)+".question", []byte(t.roster.opt.Node), answersStay)
	})
}

// Standing returns what is known since a question, 0 for none, and a channel that is closed when that may
// have changed.
func (t *Total) Standing(question uint64) (s Standing, moved <-chan struct{}) {
	m := t.room
	silent := t.roster.predecessors()
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, h := range m.fold.seats {
		if at.user != "" || !h.in || at.node == t.roster.opt.Node || silent[at.node] {
			continue
		}
		s.Others += h.Count
		if a, ok := t.answers[at.node]; ok && question > 0 && a.question >= question {
			s.Confirmed += min(h.Count, a.connections)
		}
	}
	return s, m.moved
}

// predecessors returns the gateways that have written nothing since this one began to keep the table.
func (r *Roster) predecessors() map[string]bool {
	if !r.opt.Sole {
		return nil
	}
	out := map[string]bool{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, p := range r.peers {
		out[node] = p.lease <= r.born
	}
	return out
}

// Company reports whether another gateway is known to be alive: it is in the register and has renewed its
// lease in time.
func (r *Roster) Company() bool {
	silent, view, now := r.predecessors(), r.view.Load(), r.opt.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, p := range r.peers {
		if view.alive(node) && !silent[node] && now.Sub(p.seen) < r.opt.Lease/2 {
			return true
		}
	}
	return false
}

// pause waits, and reports false if ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Leaving says that the connections of this gateway are being closed from now on. The gateway confirms none
// of them any more, because their clients may be at another gateway already.
func (r *Roster) Leaving() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaving = true
}

// answerLater notes a question about the connections of an app.
func (r *Roster) answerLater(app string, question uint64) {
	r.mu.Lock()
	r.questions[app] = question
	r.mu.Unlock()
	select {
	case r.questioned <- struct{}{}:
	default:
	}
}

// answering is the goroutine that answers questions.
func (r *Roster) answering() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.questioned:
		}
		if !pause(r.ctx, answerPause) {
			return
		}
		r.mu.Lock()
		questions, leaving := r.questions, r.leaving
		r.questions = map[string]uint64{}
		r.mu.Unlock()
		for app, question := range questions {
			if leaving {
				break
			}
			r.answer(app, question)
		}
	}
}

// answer writes how many connections of an app this gateway has, if it has a seat for them.
func (r *Roster) answer(app string, question uint64) {
	s := seat{app, "", r.opt.Node, ""}
	r.ownMu.Lock()
	n, known := r.here(s), r.own[s] != nil
	r.ownMu.Unlock()
	if !known {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	value := fmt.Appendf(nil, "%d %d", n, question)
	if _, err := r.opt.Table.Put(ctx, totalKey(app)+".answer."+name.Key(r.opt.Node), value, answersStay); err != nil {
		r.warn("telling other gateways how many connections an app has failed; it is told when they ask again", err)
	}
}
