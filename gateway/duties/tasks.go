package duties

import (
	"context"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Tasks are what somebody has running in the background, and waits for at his end. Make them with [NewTasks].
type Tasks struct {
	ctx context.Context
	end context.CancelFunc

	mu      rank.Mutex[rank.Tasks]
	running sync.WaitGroup
}

// NewTasks returns none, and the context that ends with [Tasks.Stop].
func NewTasks() (*Tasks, context.Context) {
	t := &Tasks{}
	t.ctx, t.end = context.WithCancel(context.Background())
	return t, t.ctx
}

// Go runs f in a goroutine that Wait waits for. It reports false, and does not run it, after Stop.
func (t *Tasks) Go(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.running.Go(f)
	return true
}

// Pause waits, and reports false when Stop is called.
func (t *Tasks) Pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// Stop ends the context. No task begins afterwards.
func (t *Tasks) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
}

// Wait waits for those that run, after Stop.
func (t *Tasks) Wait() { t.running.Wait() }
