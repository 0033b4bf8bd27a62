package follow

import (
	"context"
	"sync/atomic"
	"time"
)

// retryPause is the delay before a comparison with the log that failed is tried again.
const retryPause = time.Second

// Retry calls a function one second later. Requests made while one is pending are ignored. The zero value is
// ready to use.
type Retry struct{ pending atomic.Bool }

// Later calls do after the pause, in a goroutine that start runs and that ends with ctx.
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
