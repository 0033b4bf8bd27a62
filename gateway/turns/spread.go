package turns

import (
	"context"
	"time"
)

// spreadStep is the time between two groups.
const spreadStep = 50 * time.Millisecond

// Spread calls each for all elements, in groups of at least the given size, spread over a time. It returns
// when all were called, or ctx is done.
func Spread[T any](ctx context.Context, over time.Duration, group int, all []T, each func(T)) {
	if steps := int(over / spreadStep); steps > 0 {
		group = max(group, (len(all)+steps-1)/steps)
	}
	tick := time.NewTicker(spreadStep)
	defer tick.Stop()
	for len(all) > 0 {
		n := min(group, len(all))
		for _, one := range all[:n] {
			each(one)
		}
		if all = all[n:]; len(all) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
