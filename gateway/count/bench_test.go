package count

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// BenchmarkCountTogether measures the decision for one publication in a channel that counts with the cluster:
// the step, the mark that is kept for comparison, and whether a checkpoint is due.
func BenchmarkCountTogether(b *testing.B) {
	for _, keys := range []int{1, 3} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			now := time.Now()
			c := NewCounter(nil, "app", "market", Settings{Interval: 4, MaxValues: 3}, new(sync.Mutex), nil)
			c.m.Join()
			c.m.Found(Answer{State: c.m.settings.interval().Snapshot()}, Moment{now, now})
			// A due checkpoint is not written, as if the last attempt had just failed.
			c.m.failed, c.told.unwritten = now.Add(retryInterval*1000), true
			names := []string{"a", "b", "c"}
			pub := &broker.Publication{Position: broker.Position{Epoch: "e"}, Time: now}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				pub.Offset, pub.Prev = uint64(n+1), uint64(n)
				c.Publication(pub, Tracked, names[n%keys], now)
			}
		})
	}
}
