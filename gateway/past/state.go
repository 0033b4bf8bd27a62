package past

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/sight"
)

const (
	// firstPause and longestPause bound the pause before a look at the log when there was one within a
	// second. All requests in that pause share the look.
	firstPause   = 5 * time.Millisecond
	longestPause = 50 * time.Millisecond
)

// State is what the log has of a channel, and what of it may be seen.
type State struct {
	*sight.View
	// Seen is what readers may see, Kept what the log has.
	Seen, Kept broker.Retained
}

// Look is one look at the log, which requests at about the same time share. Safe for concurrent use.
type Look struct {
	done  chan struct{}
	state State
	err   error

	// asking is held while the log is asked about an offset in a channel without events. proven is the
	// highest offset that the log has confirmed, and unknown the lowest that it has not, with the reason in
	// why.
	asking  sync.Mutex
	proven  uint64
	unknown uint64
	why     error
}

// Wait waits for the look. Errors: those of [broker.History], or of ctx. If the result is there, it is
// returned even if ctx is done.
func (l *Look) Wait(ctx context.Context) (State, error) {
	select {
	case <-l.done:
	case <-ctx.Done():
		select {
		case <-l.done:
		default:
			return State{}, ctx.Err()
		}
	}
	return l.state, l.err
}

// follows reads what follows a position, and returns the errors of [sight.View.After].
func (s State) follows(ctx context.Context, pos broker.Position) error {
	return reaching(ctx, func() error {
		_, err := s.After(ctx, pos, 1)
		return err
	})
}

// reaches returns an error if the log has not come as far as an offset in a channel without events, as
// [broker.History.After] does. Requests that share the look share the answers.
func (l *Look) reaches(ctx context.Context, pos broker.Position) error {
	l.asking.Lock()
	defer l.asking.Unlock()
	switch {
	case pos.Offset <= l.proven:
		return nil
	case l.why != nil && pos.Offset >= l.unknown:
		return l.why
	}
	err := l.state.follows(ctx, pos)
	switch {
	case err == nil:
		l.proven = pos.Offset
	case errors.Is(err, broker.ErrPositionUnknown):
		l.unknown, l.why = pos.Offset, err
	}
	return err
}

// looks are the looks at the log of one channel. The lock of the past guards them.
type looks struct {
	// next is the look that has not begun, which further requests share; nil if there is none.
	next  *Look
	began time.Time
	pause time.Duration
}

// Look returns a look at the log that begins after the call: one that has begun already might not see what
// the caller knows of.
func (r *Recent) Look() *Look {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looks.next != nil {
		return r.looks.next
	}
	l := &Look{done: make(chan struct{})}
	if !r.library.Background(func() { r.lookAfter(l, r.rest()) }) {
		l.err = broker.ErrClosed
		close(l.done)
		return l
	}
	r.looks.next = l
	return l
}

// rest returns how long the next look waits for others to share it.
func (r *Recent) rest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &r.looks
	if time.Since(k.began) > time.Second {
		k.pause = 0
	} else {
		k.pause = min(max(2*k.pause, firstPause), longestPause)
	}
	return k.pause
}

// lookAfter looks at the log after a pause.
func (r *Recent) lookAfter(l *Look, pause time.Duration) {
	defer close(l.done)
	select {
	case <-time.After(pause):
	case <-r.library.Context.Done():
	}
	r.mu.Lock()
	r.looks.next, r.looks.began = nil, time.Now()
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.library.Context, r.library.Timeout)
	defer cancel()
	r.library.Read()
	l.err = reaching(ctx, func() (err error) {
		l.state, err = r.sight(ctx)
		return err
	})
}

func (r *Recent) sight(ctx context.Context) (now State, err error) {
	if now.View, err = r.library.Log.Look(ctx, r.app, r.line.Name); err != nil {
		return now, err
	}
	now.Seen, now.Kept, err = now.State(ctx)
	return now, err
}
