package broker

import (
	"context"
	"fmt"

	"github.com/sluicehq/sluice/broker/rank"
)

// Rounds do once what many ask for at a time. Of each key one round is under way, and whoever
// asks meanwhile shares the next one: what he gets was begun after he asked. A round that
// nobody waits for any more is told to end. So however many ask, a key costs what two of them
// would. The zero value works. Safe for use by many goroutines.
type Rounds[K comparable, T any] struct {
	mu rank.Mutex[rank.Rounds]
	of map[K]*lane[T]
}

// lane is the round of a key that is under way or about to be, and the one behind it.
type lane[T any] struct{ now, next *round[T] }

type round[T any] struct {
	// waiting is how many want it; begun and cancel are set by whoever does it.
	waiting int
	begun   bool
	cancel  context.CancelFunc
	// turn has a token for the one of them who is to do it; done is closed afterwards.
	turn, done chan struct{}
	out        T
	err        error
}

func newRound[T any]() *round[T] {
	return &round[T]{turn: make(chan struct{}, 1), done: make(chan struct{})}
}

// Do returns what do returns, which one of those who ask at a time calls for all of them. The
// context of do has the values of his, no deadline, and ends when nobody waits any more. The
// result is shared, so nobody may change it. Errors: those of do, or the context's.
func (r *Rounds[K, T]) Do(ctx context.Context, key K, do func(context.Context) (T, error)) (out T, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	mine := r.join(key)
	select {
	case <-mine.turn:
		r.run(ctx, key, mine, do)
	case <-mine.done:
	case <-ctx.Done():
		r.leave(key, mine)
		return out, ctx.Err()
	}
	return mine.out, mine.err
}

// Waiting is how many wait for rounds of all keys, those who do them included.
func (r *Rounds[K, T]) Waiting() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.of {
		n += l.now.waiting
		if l.next != nil {
			n += l.next.waiting
		}
	}
	return n
}

// join takes part in the first round of a key that has not begun.
func (r *Rounds[K, T]) join(key K) *round[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.of[key]
	if l == nil {
		if r.of == nil {
			r.of = map[K]*lane[T]{}
		}
		l = &lane[T]{now: newRound[T]()}
		l.now.turn <- struct{}{}
		r.of[key] = l
	}
	mine := l.now
	if mine.begun {
		if l.next == nil {
			l.next = newRound[T]()
		}
		mine = l.next
	}
	mine.waiting++
	return mine
}

// run does a round. Whoever does it stays with it when his own time is over, for the others.
func (r *Rounds[K, T]) run(ctx context.Context, key K, mine *round[T], do func(context.Context) (T, error)) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r.mu.Lock()
	mine.begun, mine.cancel = true, cancel
	r.mu.Unlock()
	defer context.AfterFunc(ctx, func() { r.leave(key, mine) })()
	// Nobody waits for ever if do panics.
	mine.err = fmt.Errorf("%w: it was not done", ErrUnavailable)
	defer r.end(key, mine)
	mine.out, mine.err = do(work)
}

// leave is for who does not wait any more.
func (r *Rounds[K, T]) leave(key K, mine *round[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if mine.waiting--; mine.waiting > 0 {
		return
	}
	l := r.of[key]
	switch {
	case mine.begun:
		mine.cancel()
	case l.now == mine:
		r.advance(key, l)
	default:
		l.next = nil
	}
}

// end tells everybody of a round that it is done.
func (r *Rounds[K, T]) end(key K, mine *round[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(mine.done)
	r.advance(key, r.of[key])
}

// advance has the next round begin, if there is one. The caller holds the lock.
func (r *Rounds[K, T]) advance(key K, l *lane[T]) {
	if l.now, l.next = l.next, nil; l.now == nil {
		delete(r.of, key)
		return
	}
	l.now.turn <- struct{}{}
}
