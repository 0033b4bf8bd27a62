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
	// firstPause and longestPause lie before a look at the log when there was one within a
	// second: those who come meanwhile share it, however many they are.
	firstPause   = 5 * time.Millisecond
	longestPause = 50 * time.Millisecond
)

// State is what the log has of a channel, and what of it may be seen.
type State struct {
	*sight.View
	// Seen is what readers may see, Kept what there is.
	Seen, Kept broker.Retained
}

// Look is one look at the log. Those who ask for one at about the same time share it.
type Look struct {
	done  chan struct{}
	state State
	err   error

	// asking is held while the log is asked about a place in a channel without events. proven
	// is the highest one that is known, and unknown the lowest one that is not, with the reason.
	asking  sync.Mutex
	proven  uint64
	unknown uint64
	why     error
}

// Wait waits until the log was looked at. Errors: those of [broker.History], or the context's. What is
// known counts also when ctx is done.
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

// reaches says whether the log has come as far as a place in a channel of which it has nothing, as
// [broker.History.After] does. Those who share the look share the answers.
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

// looks are those at the log of one channel. They belong to the lock of the past.
type looks struct {
	// next is the one that has not begun, for whoever comes now; nil if nobody waits.
	next  *Look
	began time.Time
	pause time.Duration
}

// Look has the log looked at, later than it is called: a look that has begun might not see what
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

// rest is how long the next look waits for others who want it.
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

// lookAfter looks at the log after a pause, for all who wait until then.
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
