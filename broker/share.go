package broker

import (
	"context"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// shareStale is how long something may take until it is no load any more but waits for an
// answer that does not come.
const shareStale = time.Second

// Share bounds what is under way at a time in such a way that no key, an app or a stream
// say, keeps others from their part: each may have half of the places, and what has been
// under way for a second counts for its own key alone. So what waits for something that
// does not answer holds up nobody else. Make it with [NewShare]. Safe for use by many
// goroutines.
type Share struct {
	total, each int

	mu rank.Mutex[rank.Share]
	// used counts the places that are taken and not stale, of those of each key all.
	used int
	keys map[string]*shareKey
	// turns are the keys for which somebody waits, in the order in which they are served.
	turns []string
}

type shareKey struct {
	used    int
	waiting []chan struct{}
}

// NewShare returns a share of so many places, at least one.
func NewShare(total int) *Share {
	return &Share{total: max(total, 1), each: max((total+1)/2, 1), keys: map[string]*shareKey{}}
}

// Take waits for a place of a key, keys in turn, and returns what gives it back. The only
// error is that of the context.
func (s *Share) Take(ctx context.Context, key string) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	k := s.keys[key]
	if k == nil {
		k = &shareKey{}
		s.keys[key] = k
	}
	mine := make(chan struct{})
	if k.waiting = append(k.waiting, mine); len(k.waiting) == 1 {
		s.turns = append(s.turns, key)
	}
	s.serve()
	s.mu.Unlock()
	select {
	case <-mine:
	case <-ctx.Done():
		if s.withdraw(key, mine) {
			return nil, ctx.Err()
		}
	}
	return s.hold(key), nil
}

// Load says how much of a key is under way, and how much waits for a place.
func (s *Share) Load(key string) (underWay, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[key]; k != nil {
		underWay, waiting = k.used, len(k.waiting)
	}
	return underWay, waiting
}

// withdraw takes somebody out of those who wait, and reports false if he was served.
func (s *Share) withdraw(key string, mine chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[key]
	i := slices.Index(k.waiting, mine)
	if i < 0 {
		return false
	}
	if k.waiting = slices.Delete(k.waiting, i, i+1); len(k.waiting) == 0 {
		s.turns = slices.DeleteFunc(s.turns, func(t string) bool { return t == key })
		s.forget(key)
	}
	return true
}

// hold watches over a place that was given.
func (s *Share) hold(key string) (done func()) {
	counts := true
	stale := time.AfterFunc(shareStale, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if counts {
			counts = false
			s.used--
			s.serve()
		}
	})
	return func() {
		stale.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		if counts {
			counts = false
			s.used--
		}
		s.keys[key].used--
		s.serve()
		s.forget(key)
	}
}

// serve gives places to those who wait. The caller holds the lock.
func (s *Share) serve() {
	for i := 0; i < len(s.turns) && s.used < s.total; {
		key := s.turns[i]
		k := s.keys[key]
		if k.used >= s.each {
			i++
			continue
		}
		close(k.waiting[0])
		k.waiting = k.waiting[1:]
		k.used++
		s.used++
		// The next turn is that of another key.
		s.turns = slices.Delete(s.turns, i, i+1)
		if len(k.waiting) > 0 {
			s.turns = append(s.turns, key)
		}
	}
}

// forget drops what is known of a key that has nothing. The caller holds the lock.
func (s *Share) forget(key string) {
	if k := s.keys[key]; k.used == 0 && len(k.waiting) == 0 {
		delete(s.keys, key)
	}
}
