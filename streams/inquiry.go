package streams

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// Inquire implements [follow.Line].
func (f *follower) Inquire(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	about, p := f.doubt, f.page
	f.Unlock()
	switch {
	case about == unplaced:
		return f.lookUp(ctx)
	case about == tail:
		ctx, cancel := context.WithTimeout(ctx, attemptStart)
		defer cancel()
		return f.inquireTail(ctx)
	case p != nil:
		return f.inquirePage(ctx)
	}
	return func() follow.Found { return follow.Turned }, nil
}

// inquireTail finds out whether the log has lost the end of what was delivered, and if not, whether
// somebody removed it together with what had not been delivered.
func (f *follower) inquireTail(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	missing, upset := f.absence(), f.app.upset.Load()
	f.Unlock()
	what, err := removed, error(nil)
	if missing.seen.offset > 0 {
		what, err = f.lookBack(ctx, true)
	}
	purged := false
	// What is removed goes oldest first: nothing is gone behind a message that is there.
	if err == nil && what == removed && missing.upset != upset {
		purged, err = f.log.mayBePurged(ctx, f.app, missing)
	}
	if err != nil {
		return nil, err
	}
	return func() follow.Found {
		if f.doubt != tail || f.target == toTheEnd {
			f.doubt = certain
			return follow.Turned
		}
		f.believe(what, purged)
		f.sound = max(f.sound, upset)
		f.Resume()
		return follow.Complete
	}, nil
}

// inquirePage finds out why a page does not have what was delivered last.
func (f *follower) inquirePage(ctx context.Context) (func() follow.Found, error) {
	what, err := f.lookBack(ctx, false)
	if err != nil {
		return nil, err
	}
	again := func(found follow.Found) func() follow.Found {
		return func() follow.Found {
			f.page = nil
			return found
		}
	}
	switch what {
	case kept:
		// The copy that was read has something else there than the leader. It may have other places
		// for all that follows: servers do not refuse the same messages while limits are edited.
		return again(follow.Nothing), nil
	case lost:
		return again(follow.Turned), nil
	default:
		return f.absorb, nil
	}
}

// lookBack asks what became of the message that was delivered last. If the log lost it, or if there is
// no log and whole says that it was lost then as well, a new life of the log begins.
func (f *follower) lookBack(ctx context.Context, whole bool) (fate, error) {
	_, epoch := f.place()
	what, err := f.log.fateOf(ctx, f.app, f.seen())
	if whole && errors.Is(err, errNoStream) {
		what, err = lost, nil
	}
	if err == nil && what == lost {
		err = f.log.refresh(ctx, f.app, epoch)
	}
	return what, err
}

// believe goes on although the log contradicts what it said before: what was held and lies
// below was delivered before; the clocks of two leaders differ. What lies above follows. If the log has
// kept what was seen, a copy of it was behind. Otherwise retention removed it; or somebody did that,
// perhaps with what had not been delivered, of which all are told then. The lock is held.
func (f *follower) believe(what fate, purged bool) {
	f.doubt = certain
	f.Keep(func(m arrival) bool { return m.unseen || m.offset > f.track.last })
	at := f.At().Offset
	next, found := f.next(at)
	if what == kept && !(found && next.prev < f.track.seen.offset) {
		return
	}
	// The server says itself that nothing was between what was seen and what came next.
	if purged && !(found && next.prev == at && at > 0) {
		if found {
			at = next.offset - 1
		}
		f.missing(at, broker.GapEvicted)
	}
	f.track.forget()
}
