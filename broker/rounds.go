package broker

import (
	"context"
	"fmt"

	"github.com/sluicehq/sluice/broker/rank"
)

// Rounds combines concurrent requests for the same key. One round per key is in progress; requests made
// meanwhile share the next round, so every result was begun after it was requested. A round whose callers
// have all left is cancelled. So a key costs at most two rounds at a time, however many callers ask. The zero
// value is ready to use. Safe for concurrent use.
type Rounds[K comparable, T any] struct {
	mu rank.Mutex[rank.Rounds]
	of map[K]*lane[T]
}

// lane holds the round of a key that is in progress or about to begin, and the next one.
type lane[T any] struct{ now, next *round[T] }

type round[T any] struct {
	// waiting counts the callers. The caller that runs the round sets begun and cancel.
	waiting int
	begun   bool
	cancel  context.CancelFunc
	// turn holds a token for the caller that is to run the round. done is closed when it is over.
	turn, done chan struct{}
	out        T
	err        error
}

func newRound[T any]() *round[T] {
	return &round[T]{turn: make(chan struct{}, 1), done: make(chan struct{})}
}

// Do returns the result of do, which one of the concurrent callers runs for all of them. The context of do
// has the values of that caller's context and no deadline; it ends when no caller waits any more. The result
// is shared, so callers must not change it. Errors: those of do, or the context's.
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

// Waiting returns how many callers wait for rounds of any key, including those that run them.
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

// join adds the caller to the first round of a key that has not begun.
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

// run runs a round. It continues for the other callers even after this caller's context has ended.
func (r *Rounds[K, T]) run(ctx context.Context, key K, mine *round[T], do func(context.Context) (T, error)) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r.mu.Lock()
	mine.begun, mine.cancel = true, cancel
	r.mu.Unlock()
	defer context.AfterFunc(ctx, func() { r.leave(key, mine) })()
	// If do panics, the other callers get this error instead of waiting for ever.
	mine.err = fmt.Errorf("%w: it was not done", ErrUnavailable)
	defer r.end(key, mine)
	mine.out, mine.err = do(work)
}

// leave removes a caller that no longer waits.
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

// end releases all callers of a round that is over.
func (r *Rounds[K, T]) end(key K, mine *round[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(mine.done)
	r.advance(key, r.of[key])
}

// advance lets the next round of a key begin, if there is one. The caller holds the lock.
func (r *Rounds[K, T]) advance(key K, l *lane[T]) {
	if l.now, l.next = l.next, nil; l.now == nil {
		delete(r.of, key)
		return
	}
	l.now.turn <- struct{}{}
}
