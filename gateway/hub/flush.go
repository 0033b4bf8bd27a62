package hub

import (
	"errors"
	"os"
)

// flush writes what an outbox holds, or hands the socket to a goroutine of its
// own when the kernel takes no more.
func (s *shard) flush(o *outbox) {
	for {
		o.mu.Lock()
		if o.flags&blocked != 0 {
			// Its writer uses the record, and gives it back.
			o.flags &^= dirty
			o.mu.Unlock()
			return
		}
		if o.flags&retired != 0 {
			o.mu.Unlock()
			s.release(o)
			return
		}
		if o.flags&dead != 0 {
			o.flags &^= dirty
			o.mu.Unlock()
			return
		}
		if o.count == 0 && o.flags&(lagging|closing) == lagging {
			o.flags &^= lagging
			o.mu.Unlock()
			s.catchUp(o)
			continue
		}
		if o.count == 0 {
			o.flags &^= dirty
			ends := o.flags&closing != 0
			o.mu.Unlock()
			if ends {
				o.sock.finish(s.hub.opt.Linger)
			}
			return
		}
		var total int
		s.loop.batch, total = o.take(s.loop.batch[:0], gatherBytes)
		// Whoever comes from here on tells the shard again, so that a socket
		// that takes everything need not be locked a second time.
		through := o.count == 0 && o.flags&(lagging|closing) == 0
		if through {
			o.flags &^= dirty
		}
		o.mu.Unlock()

		p := s.gathered(total)
		n, err := o.sock.tryWrite(p)
		s.loop.frames += uint64(len(s.loop.batch))
		s.loop.writes++
		clear(s.loop.batch)
		if err == nil && through {
			return
		}
		if err == nil {
			continue
		}
		o.mu.Lock()
		if o.flags&retired != 0 {
			// The connection has left during the write. If that found nothing to
			// do here, it has told the shard, and this record is released then.
			o.mu.Unlock()
			if through {
				return
			}
			continue
		}
		if !through {
			o.flags &^= dirty
		}
		if err != errWouldBlock {
			o.flags |= dead
			o.clear()
			o.mu.Unlock()
			o.sock.abort()
			return
		}
		o.block(total-n, s.hub.opt.Now().UnixNano())
		o.mu.Unlock()
		s.blocks.Add(1)
		s.hub.writers.Add(1)
		go s.unblock(o, append([]byte(nil), p[n:]...))
		return
	}
}

// gathered returns the bytes of the batch: the shared buffer itself when it is a
// single frame, otherwise a copy in scratch memory, which below 64 KB is cheaper
// than writev and needs no allocation.
func (s *shard) gathered(total int) []byte {
	if len(s.loop.batch) == 1 {
		return s.loop.batch[0].b
	}
	buf := s.loop.gather[:0]
	if cap(buf) < total {
		buf = make([]byte, 0, total)
	}
	for _, f := range s.loop.batch {
		buf = append(buf, f.b...)
	}
	s.loop.gather = buf
	return buf
}

// unblock writes for one slow socket until its outbox is empty, and then gives
// the socket back to the shard. Only slow sockets pay for a goroutine. Its end
// is guaranteed by the deadline of each write.
func (s *shard) unblock(o *outbox, rest []byte) {
	defer s.hub.writers.Done()
	// Once the flags are given up, the outbox may be used by another
	// connection; its socket must not be read from there any more.
	sock := o.sock
	var batch []*Frame
	for {
		err := sock.writeWithin(rest, s.hub.opt.SlowAge)
		o.mu.Lock()
		o.hold(-len(rest))
		if err != nil {
			o.clear()
			o.flags |= dead
			o.flags &^= blocked
			isRetired, wasOpen := o.flags&retired != 0, o.flags&closing == 0
			if isRetired {
				o.flags |= dirty
			}
			o.mu.Unlock()
			if isRetired {
				s.mark(o)
				return
			}
			s.overflows.Add(1)
			if wasOpen && errors.Is(err, os.ErrDeadlineExceeded) {
				s.hub.limits.closed[byTime].Add(1)
			}
			sock.abort()
			return
		}
		if o.count == 0 {
			o.flags &^= blocked
			ends, goesOn := o.flags&closing != 0, o.flags&(retired|lagging) != 0
			if goesOn {
				o.flags |= dirty
			}
			o.mu.Unlock()
			if goesOn {
				s.mark(o)
			} else if ends {
				sock.finish(s.hub.opt.Linger)
			}
			return
		}
		var total int
		batch, total = o.take(batch[:0], gatherBytes)
		o.hold(total)
		o.mu.Unlock()
		rest = rest[:0]
		for _, f := range batch {
			rest = append(rest, f.b...)
		}
		clear(batch)
		s.frames.Add(uint64(len(batch)))
		s.writes.Add(1)
	}
}
