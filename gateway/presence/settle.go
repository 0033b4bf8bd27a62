package presence

import (
	"context"
	"time"
)

// settleLeast is how long at least [Roster.Settle] waits, however little time connections have to leave.
const settleLeast = 2 * time.Second

// Settle waits at a stop until each channel is idle: nobody is in it by this gateway any more, and whoever
// Tell tells was told so. It waits as long as ctx lasts, and for two seconds in any case. If that is not
// enough, this gateway does not take its leave: the others find out when its lease has ended, and tell what it
// could not.
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
