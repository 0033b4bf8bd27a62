package streams

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/broker/follow"
)

type upkeep struct {
	mended, restored, misplaced, unnamed atomic.Uint64
}

// Upkeep are totals since the log was opened of what people do to its streams.
type Upkeep struct {
	// Mended is how often settings of a stream were put back. Restored events had been
	// acknowledged and not been stored where they belong, and were stored again; Misplaced
	// ones may be lost by that. Unnamed events came to the log under what is no channel.
	Mended, Restored, Misplaced, Unnamed uint64
}

// Upkeep may be called at any time from any goroutine.
func (l *Log) Upkeep() Upkeep {
	c := &l.upkeep
	return Upkeep{c.mended.Load(), c.restored.Load(), c.misplaced.Load(), c.unnamed.Load()}
}

// Stats may be called at any time from any goroutine.
func (l *Log) Stats() follow.Stats { return l.follow.Stats(l.queues.Len()) }
