package streams

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// enter has a letter wait for its acknowledgement, as soon as there is room for it.
func (s *sender) enter(ctx context.Context, l *letter) error {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return nats.ErrConnectionClosed
	case ctx.Err() != nil:
		s.mu.Unlock()
		return ctx.Err()
	case len(s.queue) == 0 && l.weight <= s.room:
		s.admit(l, time.Now())
		s.mu.Unlock()
		return nil
	}
	l.ready = make(chan struct{})
	s.queue = append(s.queue, l)
	s.mu.Unlock()
	select {
	case <-l.ready:
		return l.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.queue, l); i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
		s.advance()
	} else if s.waiting[l.number] == l {
		s.remove(l)
	}
	return ctx.Err()
}

// enterAll does what enter does for all of some letters, if there is room for them at once. It
// says false if there is not, and none has entered.
func (s *sender) enterAll(ctx context.Context, all []letter) bool {
	var weight int64
	for i := range all {
		weight += all[i].weight
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || ctx.Err() != nil || len(s.queue) > 0 || weight > s.room {
		return false
	}
	now := time.Now()
	for i := range all {
		s.admit(&all[i], now)
	}
	return true
}

// advance lets those in whose turn it is, as far as there is room. The lock is held.
func (s *sender) advance() {
	for len(s.queue) > 0 && s.queue[0].weight <= s.room {
		s.admit(s.queue[0], time.Now())
		close(s.queue[0].ready)
		s.queue = s.queue[1:]
	}
}

// admit enters a letter. The lock is held.
func (s *sender) admit(l *letter, now time.Time) {
	s.room -= l.weight
	s.number++
	l.number, l.due = s.number, now.Add(attemptTimeout)
	s.waiting[l.number] = l
	if l.before = s.newest; l.before != nil {
		l.before.after = l
	} else {
		s.oldest = l
	}
	s.newest = l
	if !s.armed {
		s.armed = true
		s.timer.Reset(attemptTimeout)
	}
}

// remove ends the waiting of a letter. The lock is held.
func (s *sender) remove(l *letter) {
	delete(s.waiting, l.number)
	if l.before != nil {
		l.before.after = l.after
	} else {
		s.oldest = l.after
	}
	if l.after != nil {
		l.after.before = l.before
	} else {
		s.newest = l.before
	}
	l.before, l.after = nil, nil
	s.room += l.weight
	s.advance()
}
