package follow

import (
	"context"
	"sync/atomic"
	"time"
)

// retryPause is how long what could not be compared with the log waits.
const retryPause = time.Second

// Retry does something a second later, once, however often it is asked for meanwhile. The zero
// value is ready.
type Retry struct{ pending atomic.Bool }

// Later has do called after the pause, in a goroutine that start runs and that ends with ctx.
func (r *Retry) Later(ctx context.Context, start func(func()), do func()) {
	if !r.pending.CompareAndSwap(false, true) {
		return
	}
	start(func() {
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
			r.pending.Store(false)
			do()
		}
	})
}
