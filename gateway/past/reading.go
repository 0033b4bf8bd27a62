package past

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/sight"
)

// IDAt returns the id of the publication at an offset, empty if it is not in memory.
func (r *Recent) IDAt(place uint64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	items, _ := r.backlog.AppendAfter(nil, place-1, 1)
	if len(items) == 0 || items[0].Place() != place {
		return ""
	}
	return items[0].Pub.ID()
}

// read reads pages of the log until no way waits for one.
func (r *Recent) read() {
	for {
		r.mu.Lock()
		place, ok := r.backlog.Next()
		begun := begun{r.epoch, r.backlog.Low(), r.erasures}
		if !ok {
			r.reading = false
		}
		r.mu.Unlock()
		if !ok {
			return
		}
		woken, far, long := r.take(place, begun)
		r.measure(begun.epoch, long, far)
		r.refuse(far)
		r.wake(woken)
	}
}

// measure handles the ways in long, for which the page did not decide whether too much was missed. It has the
// log count what follows the page, without reading it, because a client that resumes gets everything that it
// missed or nothing. It adds the ways that missed too much to far. If the log cannot count, the way itself
// will find out. Only resumes from more than a whole page back cost that.
func (r *Recent) measure(epoch string, long map[*fanout.Way]*fanout.Rest, far map[*fanout.Way]*pusher.ResumeFailure) {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	counted := map[uint64]uint64{}
	above := func(place uint64) (n uint64, ok bool) {
		n, ok = counted[place]
		if !ok {
			if n, ok = r.library.Log.Above(ctx, r.app.ID, r.line.Name, place); ok {
				counted[place] = n
			}
		}
		return n, ok
	}
	for p, rest := range long {
		var f *pusher.ResumeFailure
		if all, ok := above(rest.Above); ok && rest.TooMuch(all) != nil {
			// Publications since the subscription began were not missed.
			if own, ok := above(rest.To); ok && own <= all && r.life() == epoch {
				f = rest.TooMuch(all - own)
			}
		}
		if f != nil {
			far[p] = f
		} else {
			p.Foretell(nil)
		}
	}
}

// refuse fails the ways whose clients have missed too much.
func (r *Recent) refuse(far map[*fanout.Way]*pusher.ResumeFailure) {
	if len(far) == 0 {
		return
	}
	there := pusher.ResumeFailure{}
	r.available(&there)
	for p, f := range far {
		if f.Oldest = there.Oldest; there.Newest > 0 {
			f.Newest = there.Newest
		}
		p.Foretell(f)
	}
}

// begun is the state when a reading began.
type begun struct {
	epoch    string
	low      uint64
	erasures int
}

// take reads the page after a place, and returns the ways that can continue. far are those of them whose
// clients have missed too much, as the page shows, and long those for which that depends on what follows the
// page.
func (r *Recent) take(place uint64, when begun) (woken []*fanout.Way, far map[*fanout.Way]*pusher.ResumeFailure, long map[*fanout.Way]*fanout.Rest) {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	r.library.Read()
	page, err := r.page(ctx, broker.Position{Epoch: when.epoch, Offset: place})
	var failed *pusher.ResumeFailure
	if err != nil {
		failed = r.Failure(when.epoch, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.epoch != when.epoch, r.erasures != when.erasures:
		// The waiting ways ask again, once for each of these changes.
		return r.backlog.Failed(nil), nil, nil
	case err != nil && (errors.Is(err, broker.ErrPositionExpired) || errors.Is(err, broker.ErrPositionUnknown)):
		// Ways that wait at a higher place may still succeed.
		return fail(r.backlog.Failed(func(p uint64) bool { return p <= place }), failed), nil, nil
	case err != nil:
		return fail(r.backlog.Failed(nil), failed), nil, nil
	}
	items := make([]*fanout.Event, 0, len(page.Publications))
	through := when.low
	for _, pub := range page.Publications {
		if pub.Skipped == "" {
			items = append(items, r.line.Reread(pub))
		}
		through = max(through, pub.Offset)
	}
	if page.More {
		through = page.Publications[len(page.Publications)-1].Offset
	}
	woken = r.backlog.Read(place, items, through)
	ahead, reach := items, through
	if !page.More && r.backlog.Covers(through) {
		ahead, reach = r.backlog.AppendAfter(items[:len(items):len(items)], through, r.backlog.Len())
	}
	far, long = map[*fanout.Way]*pusher.ResumeFailure{}, map[*fanout.Way]*fanout.Rest{}
	for _, p := range woken {
		f, rest := p.Foresee(ahead, reach)
		if f != nil {
			far[p] = f
		}
		if rest != nil {
			long[p] = rest
		}
	}
	switch {
	case len(woken) == 0:
		r.backlog.Forget(0) // No way waits for this page any more.
	case r.library.Bytes.Load() > r.library.Most:
		r.backlog.Forget(1)
	}
	r.count()
	return woken, far, long
}

// page reads what follows a position that a way has reached.
func (r *Recent) page(ctx context.Context, after broker.Position) (page *broker.Page, err error) {
	err = reaching(ctx, func() (err error) {
		page, err = r.library.Log.Owed(ctx, r.app.ID, r.line.Name, after, min(r.app.Now().Recovery.MaxEvents+1, pageSize))
		return err
	})
	return page, err
}

// reaching repeats a request to a log that cannot be reached until ctx ends, because its servers may be
// electing a leader.
func reaching(ctx context.Context, ask func() error) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := ask()
		if !errors.Is(err, broker.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func fail(woken []*fanout.Way, why *pusher.ResumeFailure) []*fanout.Way {
	for _, p := range woken {
		p.Failed.Store(why)
	}
	return woken
}

// wake makes the shards continue with ways.
func (r *Recent) wake(woken []*fanout.Way) {
	for _, p := range woken {
		p.Wake()
	}
}

// Failure returns the failure for an error of reading what follows a position.
func (r *Recent) Failure(epoch string, err error) *pusher.ResumeFailure {
	f := &pusher.ResumeFailure{Channel: r.line.Name, Expected: epoch, Current: r.life(), Reason: err.Error()}
	switch {
	case errors.Is(err, broker.ErrEpochChanged):
		f.Code = pusher.StreamReset
	case errors.Is(err, broker.ErrPositionExpired):
		f.Code = pusher.PositionExpired
	case errors.Is(err, broker.ErrPositionUnknown):
		f.Code = pusher.ContinuityUnverifiable
	case errors.Is(err, errCramped):
		f.Code, f.Reason = pusher.PersistenceUnavailable, err.Error()
		return f
	case errors.Is(err, sight.ErrOff):
		f.Code, f.Reason = pusher.PersistenceUnavailable, err.Error()+" (channel_history)"
		return f
	default:
		f.Code, f.Reason = pusher.PersistenceUnavailable, "the log cannot be read at the moment"
		r.library.Failed(r.app.ID, r.line.Name, err)
		return f
	}
	r.available(f)
	return f
}

// available adds to a failure the range that the client can get, if that can be found out.
func (r *Recent) available(f *pusher.ResumeFailure) {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	if now, err := r.Look().Wait(ctx); err == nil {
		f.Oldest, f.Newest = now.Seen.Oldest, now.Seen.Newest
	}
}
