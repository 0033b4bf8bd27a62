package memory

// Stats are totals since the log was made, and its present size, summed over all apps.
type Stats struct {
	// Published counts stored publications, Duplicates those that were not
	// stored because their DedupID was known.
	Published, Duplicates uint64
	// DedupForgotten counts ids that left a full duplicate window early.
	DedupForgotten uint64
	// Evicted counts publications that retention removed.
	Evicted uint64
	// CatchUps counts how often a sink fell behind its queue and was fed from the retained log, Gaps how
	// often retention had already removed what it needed.
	CatchUps, Gaps uint64
	// Unheard counts cast events that did not fit into the queue of a sink.
	Unheard uint64
	// Channels with state, retained publications, their bytes as MaxBytes counts them, and open attachments.
	Channels, Messages int
	Bytes              int64
	Attachments        int
}

// Stats returns the statistics. It is safe for concurrent use.
func (l *Log) Stats() Stats {
	var sum Stats
	for _, a := range l.snapshot() {
		a.mu.Lock()
		sum.Published += a.stats.Published
		sum.Duplicates += a.stats.Duplicates
		sum.DedupForgotten += a.stats.DedupForgotten
		sum.Evicted += a.stats.Evicted
		sum.CatchUps += a.stats.CatchUps
		sum.Gaps += a.stats.Gaps
		sum.Unheard += a.stats.Unheard
		sum.Channels += len(a.channels)
		sum.Messages += a.messages()
		sum.Bytes += a.bytes
		sum.Attachments += a.attachments
		a.mu.Unlock()
	}
	return sum
}

// messages returns the number of retained publications: each one leaves by eviction.
func (a *appLog) messages() int {
	if a.closed {
		return 0
	}
	return int(a.stats.Published - a.stats.Evicted)
}
