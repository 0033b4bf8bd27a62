package fanout

// Stats are totals since the hall was created.
type Stats struct {
	// Delivered counts publications queued to sockets, per recipient.
	Delivered uint64
	// Frames and Writes count what was handed to the kernel. Their ratio shows how many frames are written
	// together.
	Frames, Writes uint64
	// Blocked counts the times that the kernel took no more, Overflowed the sockets that were closed because
	// they did not read.
	Blocked, Overflowed uint64
	// Conflated counts publications that slow sockets skipped in favour of newer ones.
	Conflated uint64
}

// Stats returns the totals. Safe for concurrent use.
func (h *Hall) Stats() Stats {
	var t Stats
	for _, s := range h.Shards {
		t.Delivered += s.Delivered.Load()
		w := s.Writer.Stats()
		t.Frames += w.Frames
		t.Writes += w.Writes
		t.Blocked += w.Blocked
		t.Overflowed += w.Overflowed
		t.Conflated += s.Conflated.Load()
	}
	return t
}

// Queued counts the frames and bytes that wait in the outboxes of all sockets.
func (h *Hall) Queued() (frames, bytes int) {
	for _, s := range h.Shards {
		n, size := s.Writer.Queued()
		frames, bytes = frames+n, bytes+size
	}
	return frames, bytes
}
