package socket

import "github.com/sluicehq/sluice/broker/rank"

const slabChunk = 256

// slab allocates outboxes from contiguous memory. Safe for concurrent use.
type slab struct {
	mu     rank.Mutex[rank.Slab]
	chunks [][]Outbox
	free   []*Outbox
}

// get returns an unused outbox.
func (s *slab) get() *Outbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		chunk := make([]Outbox, slabChunk)
		s.chunks = append(s.chunks, chunk)
		for i := range chunk {
			s.free = append(s.free, &chunk[len(chunk)-1-i])
		}
	}
	o := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return o
}

// put takes back an outbox that nothing refers to any more.
func (s *slab) put(o *Outbox) {
	o.mu.Lock()
	o.clear()
	o.flags, o.ring, o.sock, o.kind, o.touched, o.queued, o.since = 0, nil, nil, nil, false, 0, 0
	o.mu.Unlock()
	s.mu.Lock()
	s.free = append(s.free, o)
	s.mu.Unlock()
}

// each calls f with every outbox that is in use. The outbox is locked meanwhile.
func (s *slab) each(f func(*Outbox)) {
	s.mu.Lock()
	chunks := s.chunks
	s.mu.Unlock()
	for _, chunk := range chunks {
		for i := range chunk {
			o := &chunk[i]
			o.mu.Lock()
			if o.sock != nil {
				f(o)
			}
			o.mu.Unlock()
		}
	}
}
