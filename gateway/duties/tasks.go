package duties

import (
	"context"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Tasks are background goroutines that their owner waits for. [NewTasks] creates them.
type Tasks struct {
	ctx context.Context
	end context.CancelFunc

	mu      rank.Mutex[rank.Tasks]
	running sync.WaitGroup
}

// NewTasks returns Tasks, and the context that [Tasks.Stop] ends.
func NewTasks() (*Tasks, context.Context) {
	t := &Tasks{}
	t.ctx, t.end = context.WithCancel(context.Background())
	return t, t.ctx
}

// Go runs f in a goroutine that Wait waits for. After Stop it reports false and does not run f.
func (t *Tasks) Go(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.running.Go(f)
	return true
}

// Pause waits for d, and reports false if Stop is called meanwhile.
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

// Wait waits for the running tasks, after Stop.
func (t *Tasks) Wait() { t.running.Wait() }
