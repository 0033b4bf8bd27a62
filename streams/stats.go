package streams

import "sync/atomic"

type counters struct {
	published, duplicates, retries, failures atomic.Uint64
	live, rejected, skipped, unproven        atomic.Uint64
	repairs, repaired, scans, slow           atomic.Uint64
	gapEvicted, gapEpoch, gapUnavailable     atomic.Uint64
	mended, restored, misplaced, unnamed     atomic.Uint64
}

// Stats are totals since the log was opened, but for the queue.
type Stats struct {
	// Published events were acknowledged, Duplicates of them had been stored
	// before; Retries were sent again, Failures given up.
	Published, Duplicates, Retries, Failures uint64
	// Live messages came from the feed; Rejected of them were not written by the log,
	// Skipped cannot be delivered. Unproven is how often a message that was read claimed
	// what only gateways may say.
	Live, Rejected, Skipped, Unproven uint64
	// Repairs were begun and brought Repaired messages. Scans compared all
	// channels with the log. Slow counts the times that the feed was too slow.
	Repairs, Repaired, Scans, Slow uint64
	// Gaps by reason.
	GapsEvicted, GapsEpoch, GapsUnavailable uint64
	// Attached channels, and Queued messages that wait for a shard of the feed.
	Attached, Queued int
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
	c := &l.stats
	return Upkeep{c.mended.Load(), c.restored.Load(), c.misplaced.Load(), c.unnamed.Load()}
}

// Stats may be called at any time from any goroutine.
func (l *Log) Stats() Stats {
	c := &l.stats
	s := Stats{
		Published: c.published.Load(), Duplicates: c.duplicates.Load(), Retries: c.retries.Load(), Failures: c.failures.Load(),
		Live: c.live.Load(), Rejected: c.rejected.Load(), Skipped: c.skipped.Load(), Unproven: c.unproven.Load(),
		Repairs: c.repairs.Load(), Repaired: c.repaired.Load(), Scans: c.scans.Load(), Slow: c.slow.Load(),
		GapsEvicted: c.gapEvicted.Load(), GapsEpoch: c.gapEpoch.Load(), GapsUnavailable: c.gapUnavailable.Load(),
	}
	for _, shard := range l.shards {
		shard.mu.Lock()
		s.Attached += len(shard.followers)
		shard.mu.Unlock()
		s.Queued += len(shard.in)
	}
	return s
}
