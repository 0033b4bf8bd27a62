package streams

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// tipsTogether is the largest number of channels of one request, and tipsWaiting the largest number of callers that
	// wait for a request. Further callers ask alone.
	tipsTogether, tipsWaiting = 128, 1024
	// tipsPatience is how long a request makes later callers wait.
	tipsPatience = time.Second
	// tipsFar is the largest distance between the end of a channel and the end of the stream for requests of several
	// channels. After a channel that ended earlier, every caller asks alone for tipsAlone. For a request of several
	// channels the server scans all messages since the oldest of their ends, while it holds the lock of the stream.
	tipsFar, tipsAlone = 1 << 16, 10 * time.Second
)

// tips finds out where the channels of an app end. A caller that comes while no request is under way asks alone at once.
// Callers that come meanwhile wait for its end. Then the first of them sends one request for all of them. So every
// caller gets an answer to a request that was sent after it came. The zero value is ready. Safe for concurrent use.
type tips struct {
	mu rank.Mutex[rank.StreamsTips]
	// asking is the turn for which others wait, or nil.
	asking  *tipsTurn
	waiting []*tipsWish
	// alone is the time until which every caller asks alone.
	alone time.Time
}

// tipsTurn is held by the caller that sends a request, for tipsPatience at most.
type tipsTurn struct{ late *time.Timer }

// tipsWish is a caller that waits to learn where a channel ends.
type tipsWish struct {
	subject string
	// turn is closed when this caller must send the request for its round. done is closed when another caller has got
	// the answer.
	turn, done chan struct{}
	// The lock of the tips guards holds and round.
	holds *tipsTurn
	round *tipsRound
	// The rest is the result. unnamed says that the answer does not mention the channel.
	at      place
	found   bool
	unnamed bool
	err     error
}

// tipsRound is a request for several channels.
type tipsRound struct {
	// wanted is the number of callers that still wait. At 0 the request is cancelled.
	wanted int
	cancel context.CancelFunc
}

// tipsReader sends the requests.
type tipsReader interface {
	newest(ctx context.Context, stream, subject string) (stored, bool, error)
	tips(ctx context.Context, stream string, subjects []string) (tipsAnswer, error)
}

// tipsAnswer has the ends of channels. If it is not whole, channels that are missing in it may have messages.
type tipsAnswer struct {
	places []place
	upTo   uint64
	whole  bool
}

// tips asks for the newest messages of several subjects at once.
func (r *reader) tips(ctx context.Context, stream string, subjects []string) (out tipsAnswer, err error) {
	got, err := r.collect(ctx, stream, getRequest{MultiLast: subjects})
	if err != nil {
		return out, err
	}
	for _, m := range got.messages {
		if m.offset > 0 {
			out.places = append(out.places, m.place)
		}
	}
	// An answer that was cut for its size is not continued: another replica, which is behind, would leave out channels
	// whose ends it has at lower offsets.
	out.upTo, out.whole = got.upTo, !got.cut && got.unseen == 0 && got.pending == 0
	return out, nil
}

// find returns where the newest message of a subject is, and false if there is none, as [reader.newest] does. The error
// is that of the request, or that of ctx, which ends only the waiting of this caller.
func (t *tips) find(ctx context.Context, r tipsReader, stream, subject string) (place, bool, error) {
	w, turn := t.enter(subject)
	if w == nil {
		defer t.over(turn)
		m, found, err := r.newest(ctx, stream, subject)
		return m.place, found, err
	}
	select {
	case <-w.turn:
		t.lead(ctx, r, stream, w)
	case <-w.done:
	case <-ctx.Done():
		t.leave(w)
		return place{}, false, ctx.Err()
	}
	if w.unnamed {
		m, found, err := r.newest(ctx, stream, subject)
		return m.place, found, err
	}
	return w.at, w.found, w.err
}

// enter returns a wish to wait with, or nil for who asks alone at once, and then the turn that he holds, nil
// for none.
func (t *tips) enter(subject string) (*tipsWish, *tipsTurn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case time.Now().Before(t.alone), len(t.waiting) >= tipsWaiting:
		return nil, nil
	case t.asking == nil:
		return nil, t.take()
	}
	w := &tipsWish{subject: subject, turn: make(chan struct{}), done: make(chan struct{})}
	t.waiting = append(t.waiting, w)
	return w, nil
}

// take begins a turn. The caller holds mu, and there is no other turn.
func (t *tips) take() *tipsTurn {
	turn := &tipsTurn{}
	turn.late = time.AfterFunc(tipsPatience, func() { t.over(turn) })
	t.asking = turn
	return turn
}

// over ends a turn, unless it has ended already, and gives the next one to the caller that has waited longest.
func (t *tips) over(turn *tipsTurn) {
	if turn == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	turn.late.Stop()
	if t.asking != turn {
		return
	}
	t.asking = nil
	if len(t.waiting) == 0 {
		return
	}
	w := t.waiting[0]
	t.waiting = slices.Delete(t.waiting, 0, 1)
	w.holds = t.take()
	close(w.turn)
}

// leave is called by a caller that stops waiting.
func (t *tips) leave(w *tipsWish) {
	t.mu.Lock()
	var turn *tipsTurn
	switch i := slices.Index(t.waiting, w); {
	case i >= 0:
		t.waiting = slices.Delete(t.waiting, i, i+1)
	case w.round == nil:
		turn = w.holds // it got its turn just now
	default:
		if w.round.wanted--; w.round.wanted == 0 {
			w.round.cancel()
		}
	}
	t.mu.Unlock()
	t.over(turn)
}

// gather makes a round of the leading caller and those that wait.
func (t *tips) gather(lead *tipsWish, cancel context.CancelFunc) []*tipsWish {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), tipsTogether-1)
	all := append([]*tipsWish{lead}, t.waiting[:n]...)
	t.waiting = slices.Delete(t.waiting, 0, n)
	round := &tipsRound{wanted: len(all), cancel: cancel}
	for _, w := range all {
		w.round = round
	}
	return all
}

var errNotAsked = errors.New("where the channel ends was not asked for")

// lead sends the request for all callers that wait. It goes on for the others if ctx, that of the leading caller, ends.
func (t *tips) lead(ctx context.Context, r tipsReader, stream string, lead *tipsWish) {
	defer t.over(lead.holds)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	all := t.gather(lead, cancel)
	defer context.AfterFunc(ctx, func() { t.leave(lead) })()
	// If the reader panics, the waiting callers still get an error.
	got, err := tipsAnswer{}, unavailable("attaching", errNotAsked)
	defer func() { t.tell(all, got, err) }()
	if len(all) > 1 {
		subjects := make([]string, len(all))
		for i, w := range all {
			subjects[i] = w.subject
		}
		got, err = r.tips(work, stream, subjects)
		return
	}
	m, found, failed := r.newest(work, stream, lead.subject)
	if got.whole, err = true, failed; found {
		got.places, got.upTo = []place{m.place}, m.offset
	}
}

// tell gives each caller of a round its part of the answer.
func (t *tips) tell(all []*tipsWish, got tipsAnswer, err error) {
	places, oldest := make(map[string]place, len(got.places)), got.upTo
	for _, p := range got.places {
		places[p.subject] = p
		oldest = min(oldest, p.offset)
	}
	if got.upTo-oldest > tipsFar {
		t.mu.Lock()
		t.alone = time.Now().Add(tipsAlone)
		t.mu.Unlock()
	}
	for _, w := range all {
		w.at, w.found = places[w.subject]
		w.unnamed, w.err = err == nil && !w.found && !got.whole, err
		close(w.done)
	}
}
