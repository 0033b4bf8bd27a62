package follow

import (
	"context"
	"time"
)

// Bell wakes one goroutine. Ring never blocks, and rings that nobody has received yet count as one.
type Bell chan struct{}

// NewBell returns a bell. The goroutine to be woken receives from it.
func NewBell() Bell { return make(Bell, 1) }

// Ring wakes the goroutine that receives from b, now or at its next receive.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// gathering is how long [Bell.Gather] waits, so that rings in quick succession are handled together.
const gathering = 200 * time.Millisecond

// Gather waits 200 ms for further rings. It reports false if ctx ends before that.
func (b Bell) Gather(ctx context.Context) bool { return wait(ctx, gathering) }
