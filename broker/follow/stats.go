package follow

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
)

// Counters are what a log counts while it is open.
type Counters struct {
	Published, Duplicates, Retries, Failures atomic.Uint64
	Live, Rejected, Skipped, Unproven        atomic.Uint64
	Heard, Unheard                           atomic.Uint64
	Repairs, Repaired, Scans, Slow           atomic.Uint64
	GapsEvicted, GapsEpoch, GapsUnavailable  atomic.Uint64
}

// Stats are totals since the log was opened, but for the queue.
type Stats struct {
	// Published events were acknowledged, Duplicates of them had been stored
	// before; Retries were sent again, Failures given up.
	Published, Duplicates, Retries, Failures uint64
	// Live messages came from the feed; Rejected of them were not written by the log,
	// Skipped cannot be delivered. Unproven is how often a message that was read claimed
	// what only gateways may say; it stays 0 where only gateways may write.
	Live, Rejected, Skipped, Unproven uint64
	// Heard events came that are not in the log, and Unheard ones were dropped because the feed
	// was too slow.
	Heard, Unheard uint64
	// Repairs were begun and brought Repaired messages. Scans compared all
	// channels with the log. Slow counts the times that the feed was too slow.
	Repairs, Repaired, Scans, Slow uint64
	// Gaps by reason.
	GapsEvicted, GapsEpoch, GapsUnavailable uint64
	// Attached channels, and Queued messages that wait for a shard of the feed.
	Attached, Queued int
}

// stats is what was counted until now.
func (c *Counters) stats() Stats {
	return Stats{
		Published: c.Published.Load(), Duplicates: c.Duplicates.Load(), Retries: c.Retries.Load(), Failures: c.Failures.Load(),
		Live: c.Live.Load(), Rejected: c.Rejected.Load(), Skipped: c.Skipped.Load(), Unproven: c.Unproven.Load(),
		Heard: c.Heard.Load(), Unheard: c.Unheard.Load(),
		Repairs: c.Repairs.Load(), Repaired: c.Repaired.Load(), Scans: c.Scans.Load(), Slow: c.Slow.Load(),
		GapsEvicted: c.GapsEvicted.Load(), GapsEpoch: c.GapsEpoch.Load(), GapsUnavailable: c.GapsUnavailable.Load(),
	}
}

// gap counts a gap by its reason.
func (c *Counters) gap(reason broker.GapReason) {
	switch reason {
	case broker.GapEvicted:
		c.GapsEvicted.Add(1)
	case broker.GapEpoch:
		c.GapsEpoch.Add(1)
	case broker.GapUnavailable:
		c.GapsUnavailable.Add(1)
	}
}
