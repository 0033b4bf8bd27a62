package socket

// Look is what waits for a socket at one moment.
type Look struct {
	// Frames and Bytes wait here; of the frames, Events carry events of the log. Bytes
	// include what a blocked socket is being written.
	Frames, Events, Bytes int
	// Oldest is when the oldest of these events was stored, and Blocked since when the kernel
	// takes no more, by the clock of the group, both in Unix milliseconds, 0 for none.
	Oldest, Blocked int64
	// Leaving: nothing is accepted any more.
	Leaving bool
}

// Look looks at what waits for the socket. It costs a step for each frame, so it is for
// operators.
func (s *Socket) Look() Look {
	o := s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sock != s || o.flags&(dead|retired) != 0 {
		return Look{Leaving: true}
	}
	l := Look{Frames: int(o.count), Bytes: o.queued, Leaving: o.flags&closing != 0}
	if o.flags&blocked != 0 {
		l.Blocked = o.since / 1e6
	}
	for i := range o.count {
		stored := o.ring[(o.head+i)&uint32(len(o.ring)-1)].stored
		if stored == 0 {
			continue
		}
		l.Events++
		if l.Oldest == 0 || stored < l.Oldest {
			l.Oldest = stored
		}
	}
	return l
}
