package turns

import (
	"context"
	"sync/atomic"
	"time"
)

// heldFor is how long a request is held at most.
const heldFor = 2 * time.Second

// Stay holds requests that come back while a gateway stops. Make it with [NewStay]. Safe for concurrent use.
type Stay struct {
	held atomic.Int64
	came chan struct{}
	over chan struct{}
}

// NewStay returns a Stay that holds no request yet.
func NewStay() *Stay { return &Stay{came: make(chan struct{}, 1), over: make(chan struct{})} }

// Hold returns after LetGo, after two seconds at the latest, or when ctx is done.
func (s *Stay) Hold(ctx context.Context) {
	s.held.Add(1)
	select {
	case s.came <- struct{}{}:
	default:
	}
	timer := time.NewTimer(heldFor)
	defer timer.Stop()
	select {
	case <-s.over:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Await returns when that many requests have been held, after most at the latest, or when ctx is done.
func (s *Stay) Await(ctx context.Context, many int64, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for s.held.Load() < many {
		select {
		case <-s.came:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// LetGo releases all requests. It must be called only once.
func (s *Stay) LetGo() { close(s.over) }
