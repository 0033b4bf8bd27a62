package follow

import (
	"context"
	"time"
)

// Bell wakes one goroutine. Who rings it does not wait, and rings that come together are one.
type Bell chan struct{}

// NewBell returns a bell. Who is woken receives from it.
func NewBell() Bell { return make(Bell, 1) }

// Ring rings the bell.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// gathering is how long rings are waited for that belong together.
const gathering = 200 * time.Millisecond

// Gather waits a moment for further rings. It reports false if ctx ends before.
func (b Bell) Gather(ctx context.Context) bool { return wait(ctx, gathering) }
