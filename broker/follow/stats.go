package follow

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
)

// Counters are the counters of one open log. Their meaning is that of the fields of [Stats].
type Counters struct {
	Published, Duplicates, Retries, Failures atomic.Uint64
	Live, Rejected, Skipped, Unproven        atomic.Uint64
	Heard, Unheard                           atomic.Uint64
	Repairs, Repaired, Scans, Slow           atomic.Uint64
	GapsEvicted, GapsEpoch, GapsUnavailable  atomic.Uint64
}

// Stats are totals since the log was opened, except Attached and Queued, which are present values.
type Stats struct {
	// Published counts acknowledged events; Duplicates those of them that had been stored before. Retries
	// counts events sent again, Failures events given up.
	Published, Duplicates, Retries, Failures uint64
	// Live counts messages from the feed; Rejected those that the log did not write, Skipped those that
	// cannot be delivered. Unproven counts messages that were read and claimed something only gateways may
	// say; it stays 0 where only gateways may write.
	Live, Rejected, Skipped, Unproven uint64
	// Heard counts received events that are not stored in the log. Unheard counts those dropped because the
	// feed was too slow.
	Heard, Unheard uint64
	// Repairs counts repairs begun, Repaired the messages they brought. Scans counts comparisons of all
	// channels with the log. Slow counts how often the feed was too slow.
	Repairs, Repaired, Scans, Slow uint64
	// Gaps by their reason.
	GapsEvicted, GapsEpoch, GapsUnavailable uint64
	// Attached is the number of followed channels, Queued the number of messages that wait for a shard of the
	// feed.
	Attached, Queued int
}

// stats returns the counters as they are now.
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
