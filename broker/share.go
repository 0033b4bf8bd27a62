package broker

import (
	"context"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// shareStale is how long a place counts towards the total. A holder that takes longer probably waits for an
// answer and is no load.
const shareStale = time.Second

// Share bounds concurrent work so that no key (an app or a stream, for example) starves the others. A key may
// use half of the places, and a place held for longer than a second counts only for its own key. So work that
// waits for an unresponsive peer does not block other keys. Make it with [NewShare]. Safe for concurrent use.
type Share struct {
	total, each int

	mu rank.Mutex[rank.Share]
	// used counts the places of all keys that are taken and not stale. The used of a key counts all of its
	// places.
	used int
	keys map[string]*shareKey
	// turns lists the keys with waiting callers, in the order in which they are served.
	turns []string
}

type shareKey struct {
	used    int
	waiting []chan struct{}
}

// NewShare returns a share with total places, at least one.
func NewShare(total int) *Share {
	return &Share{total: max(total, 1), each: max((total+1)/2, 1), keys: map[string]*shareKey{}}
}

// Take waits for a place for key and returns the function that frees it. Keys are served in turn. The only
// error is the context's.
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

// Load returns how many places a key holds, and how many of its callers wait.
func (s *Share) Load(key string) (underWay, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[key]; k != nil {
		underWay, waiting = k.used, len(k.waiting)
	}
	return underWay, waiting
}

// withdraw removes a waiting caller. It reports false if the caller has been given a place.
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

// hold stops counting a place towards the total when it becomes stale, and returns the function that frees
// it.
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

// serve gives free places to waiting callers. The caller holds the lock.
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
		// Another key gets the next turn.
		s.turns = slices.Delete(s.turns, i, i+1)
		if len(k.waiting) > 0 {
			s.turns = append(s.turns, key)
		}
	}
}

// forget removes a key without places and waiting callers. The caller holds the lock.
func (s *Share) forget(key string) {
	if k := s.keys[key]; k.used == 0 && len(k.waiting) == 0 {
		delete(s.keys, key)
	}
}
