package streams

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// enter waits for room and then registers a letter, so that its acknowledgement will be matched.
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

// enterAll registers all letters at once. If there is no room for all of them, it registers none and reports false.
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

// advance admits queued letters in order, as far as there is room. The caller holds mu.
func (s *sender) advance() {
	for len(s.queue) > 0 && s.queue[0].weight <= s.room {
		s.admit(s.queue[0], time.Now())
		close(s.queue[0].ready)
		s.queue = s.queue[1:]
	}
}

// admit registers a letter. The caller holds mu.
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

// remove unregisters a letter and gives its room back. The caller holds mu.
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
