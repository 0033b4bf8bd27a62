package streams

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/broker/follow"
)

type upkeep struct {
	mended, restored, misplaced, unnamed atomic.Uint64
}

// Upkeep counts what was found and mended in the streams since the log was opened.
type Upkeep struct {
	// Mended counts settings of streams that were put back. Restored counts acknowledged events that were misplaced and
	// stored again, and Misplaced those that may be lost. Unnamed counts events under subjects that are no channels.
	Mended, Restored, Misplaced, Unnamed uint64
}

// Upkeep returns the present counts. Safe for concurrent use.
func (l *Log) Upkeep() Upkeep {
	c := &l.upkeep
	return Upkeep{c.mended.Load(), c.restored.Load(), c.misplaced.Load(), c.unnamed.Load()}
}

// Stats returns the present counts. Safe for concurrent use.
func (l *Log) Stats() follow.Stats { return l.follow.Stats(l.queues.Len()) }
