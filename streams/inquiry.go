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

// inquireTail finds out whether the log has lost the last delivered messages, and if not, whether a purge removed them
// together with messages that had not been delivered.
func (f *follower) inquireTail(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	missing, upset := f.absence(), f.app.upset.Load()
	f.Unlock()
	what, err := removed, error(nil)
	if missing.seen.offset > 0 {
		what, err = f.lookBack(ctx, true)
	}
	purged := false
	// Messages are removed oldest first, so none is missing after one that exists.
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

// inquirePage finds out why a page lacks the last delivered message.
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
		// The replica has another message there than the leader. It may have other offsets for everything that follows,
		// because servers do not refuse the same messages while limits are edited.
		return again(follow.Nothing), nil
	case lost:
		return again(follow.Turned), nil
	default:
		return f.absorb, nil
	}
}

// lookBack looks up the last delivered message. If the log has lost it, a new epoch begins. The same holds if there is no
// stream and whole says that this counts as lost.
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

// believe continues although the log seemed to contradict itself. Held messages at lower offsets were delivered before; the
// clocks of two leaders differ. Held messages at higher offsets follow. If the log still has the last delivered message,
// the replica that was read was behind. Otherwise retention removed the message, or a purge did, perhaps with undelivered
// messages, which are then reported as a gap. The caller holds the lock.
func (f *follower) believe(what fate, purged bool) {
	f.doubt = certain
	f.Keep(func(m arrival) bool { return m.unseen || m.offset > f.track.last })
	at := f.At().Offset
	next, found := f.next(at)
	if what == kept && !(found && next.prev < f.track.seen.offset) {
		return
	}
	// The server itself says that there was nothing between the last seen message and the next one.
	if purged && !(found && next.prev == at && at > 0) {
		if found {
			at = next.offset - 1
		}
		f.missing(at, broker.GapEvicted)
	}
	f.track.forget()
}
