package socket

// Look is what waits for a socket at one moment.
type Look struct {
	// Frames and Bytes wait in the outbox. Events is how many of the frames carry events of the log. Bytes
	// includes the write in progress of a blocked socket.
	Frames, Events, Bytes int
	// Oldest is when the oldest of these events was stored, and Blocked when the socket was blocked, by the
	// clock of the group. Both are in Unix milliseconds, 0 for none.
	Oldest, Blocked int64
	// Leaving: no more frames are accepted.
	Leaving bool
}

// Look returns what waits for the socket. It takes a step for each frame, so it is for operators.
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
