package memory

// Stats are totals since the log was made, and its present size, over all apps.
type Stats struct {
	// Published counts stored publications, Duplicates those that were not
	// stored because their DedupID was known.
	Published, Duplicates uint64
	// DedupForgotten counts ids that left a full duplicate window early.
	DedupForgotten uint64
	// Evicted counts publications that retention removed.
	Evicted uint64
	// CatchUps counts how often a sink fell behind its queue and was fed from
	// the retained log; Gaps how often that came too late.
	CatchUps, Gaps uint64
	// Unheard counts events that were cast and did not fit into the queue of a sink.
	Unheard uint64
	// Channels with state, publications retained in them, their bytes as
	// MaxBytes counts them, and open attachments.
	Channels, Messages int
	Bytes              int64
	Attachments        int
}

// Stats may be called at any time from any goroutine.
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

// messages is what is retained: everything leaves by eviction.
func (a *appLog) messages() int {
	if a.closed {
		return 0
	}
	return int(a.stats.Published - a.stats.Evicted)
}
