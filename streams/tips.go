package streams

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// tipsTogether is for how many channels one request asks where they end, and tipsWaiting how many may wait
	// for one. Who comes then asks alone.
	tipsTogether, tipsWaiting = 128, 1024
	// tipsPatience is how long a request holds up those who come meanwhile.
	tipsPatience = time.Second
	// tipsFar is how far behind the end of a stream a channel may end to be asked for with others, and
	// tipsAlone for how long everybody asks alone after one that ends before that. The server looks through all
	// that was stored since the oldest of the ends that it is asked for together, with the stream's lock held.
	tipsFar, tipsAlone = 1 << 16, 10 * time.Second
)

// tips finds out where channels of an app end. Whoever asks while nobody does asks alone and waits for nobody.
// Those who come meanwhile are asked for together, by the first of them, when that is done: so what anybody is told
// was asked for after he came. The zero value works. Safe for use by many goroutines.
type tips struct {
	mu rank.Mutex[rank.StreamsTips]
	// asking is who holds up the others, nil if nobody does.
	asking  *tipsTurn
	waiting []*tipsWish
	// alone is until when nobody waits for others.
	alone time.Time
}

// tipsTurn is held by who asks, for a second at most.
type tipsTurn struct{ late *time.Timer }

// tipsWish is somebody who waits to be told where a channel ends.
type tipsWish struct {
	subject string
	// turn is closed when he is to ask, for those of his round; done when somebody has asked for him.
	turn, done chan struct{}
	// holds and round belong to the lock of the tips.
	holds *tipsTurn
	round *tipsRound
	// The rest is what he is told. unnamed says that the answer does not say anything of his channel.
	at      place
	found   bool
	unnamed bool
	err     error
}

// tipsRound is a request for several.
type tipsRound struct {
	// wanted is by how many; nobody goes on for nobody.
	wanted int
	cancel context.CancelFunc
}

// tipsReader reads where channels end.
type tipsReader interface {
	newest(ctx context.Context, stream, subject string) (stored, bool, error)
	tips(ctx context.Context, stream string, subjects []string) (tipsAnswer, error)
}

// tipsAnswer is where channels end. Unless it is whole, those that are not named may have messages all the same.
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
	// What is cut by its size is not asked for further on: another copy, which is behind, would leave out what it
	// has below there.
	out.upTo, out.whole = got.upTo, !got.cut && got.unseen == 0 && got.pending == 0
	return out, nil
}

// find returns where the newest message of a subject is, false if there is none, as [reader.newest] does. An error is
// that of the reader, of his own request or of the one for several, or that of the context, which ends the waiting
// of this caller alone.
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

// take begins a turn. The lock is held, and nobody has one.
func (t *tips) take() *tipsTurn {
	turn := &tipsTurn{}
	turn.late = time.AfterFunc(tipsPatience, func() { t.over(turn) })
	t.asking = turn
	return turn
}

// over ends a turn, if it has not ended, and gives the next one to who has waited for longest.
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

// leave is for who does not wait any more.
func (t *tips) leave(w *tipsWish) {
	t.mu.Lock()
	var turn *tipsTurn
	switch i := slices.Index(t.waiting, w); {
	case i >= 0:
		t.waiting = slices.Delete(t.waiting, i, i+1)
	case w.round == nil:
		turn = w.holds // which he was given at this moment
	default:
		if w.round.wanted--; w.round.wanted == 0 {
			w.round.cancel()
		}
	}
	t.mu.Unlock()
	t.over(turn)
}

// gather makes a round of who leads it and those who wait.
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

// lead asks for all who wait. Who leads stays with it when his own time is over, for the others.
func (t *tips) lead(ctx context.Context, r tipsReader, stream string, lead *tipsWish) {
	defer t.over(lead.holds)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	all := t.gather(lead, cancel)
	defer context.AfterFunc(ctx, func() { t.leave(lead) })()
	// Nobody waits for ever if the reader panics.
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

// tell gives everybody of a round his part of an answer.
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
