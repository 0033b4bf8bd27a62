package presence

import (
	"context"
	"time"
)

// settleLeast is how long [Roster.Settle] waits at least, even if ctx ends before.
const settleLeast = 2 * time.Second

// Settle waits at a stop until each channel is idle: this gateway has nobody in it any more, and Tell was
// called for that. It waits as long as ctx lasts, and two seconds at least. If that is not enough, this
// gateway stays in the register: others find out when its lease has ended, and tell the rest.
func (r *Roster) Settle(ctx context.Context, idle []func() bool) {
	least, end := context.WithTimeout(context.WithoutCancel(ctx), settleLeast)
	defer end()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, settled := range idle {
		for !settled() {
			if ctx.Err() != nil && least.Err() != nil {
				r.mu.Lock()
				r.untold = true
				r.mu.Unlock()
				return
			}
			<-tick.C
		}
	}
}
