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

// IDAt is the id of the publication at a place, empty if it is not in memory.
func (r *Recent) IDAt(place uint64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	items, _ := r.backlog.AppendAfter(nil, place-1, 1)
	if len(items) == 0 || items[0].Place() != place {
		return ""
	}
	return items[0].Pub.ID()
}

// read reads pages of the log until nobody waits for one.
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

// measure has the log count what lies behind a page for those whom the page told nothing, and adds
// those to far on whose way too much lies. Nothing of it is read: who resumes gets all that was missed
// or nothing. A log that cannot count, or not now, leaves it to the way to find out. Only who resumes
// from below a whole page costs that.
func (r *Recent) measure(epoch string, long map[*fanout.Way]*fanout.Rest, far map[*fanout.Way]*pusher.ResumeFailure) {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	counted := map[uint64]uint64{}
	above := func(place uint64) (n uint64, ok bool) {
		n, ok = counted[place]
		if !ok {
			n, ok = r.library.Log.Above(ctx, r.app.ID, r.line.Name, place)
			counted[place] = n
		}
		return n, ok
	}
	for p, rest := range long {
		var f *pusher.ResumeFailure
		if all, ok := above(rest.Above); ok && rest.TooMuch(all) != nil {
			// Its own, which came since it subscribed, are not missed.
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

// refuse fails those on whose way more lies than they may have missed.
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

// begun is what was known when somebody began to read.
type begun struct {
	epoch    string
	low      uint64
	erasures int
}

// take reads the page after a place, and returns those who can go on. far are those of them on whose
// way more lies than they may have missed, as far as the page shows, and long those of whom that
// depends on what lies behind the page.
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
		// Who waits asks again, once for each of these.
		return r.backlog.Failed(nil), nil, nil
	case err != nil && (errors.Is(err, broker.ErrPositionExpired) || errors.Is(err, broker.ErrPositionUnknown)):
		// Those who are further on may be better off.
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
		r.backlog.Forget(0) // Nobody is there any more who wanted it.
	case r.library.Bytes.Load() > r.library.Most:
		r.backlog.Forget(1)
	}
	r.count()
	return woken, far, long
}

// page reads what follows a position that somebody has reached.
func (r *Recent) page(ctx context.Context, after broker.Position) (page *broker.Page, err error) {
	err = reaching(ctx, func() (err error) {
		page, err = r.library.Log.Owed(ctx, r.app.ID, r.line.Name, after, min(r.app.Now().Recovery.MaxEvents+1, pageSize))
		return err
	})
	return page, err
}

// reaching asks a log that cannot be reached again until ctx ends: its servers may be choosing a
// leader.
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

// wake lets shards go on with those who waited.
func (r *Recent) wake(woken []*fanout.Way) {
	for _, p := range woken {
		p.Wake()
	}
}

// Failure says why what comes after a position cannot be had.
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

// available adds to a failure what the client can have, as far as that can be found out.
func (r *Recent) available(f *pusher.ResumeFailure) {
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	if now, err := r.Look().Wait(ctx); err == nil {
		f.Oldest, f.Newest = now.Seen.Oldest, now.Seen.Newest
	}
}
