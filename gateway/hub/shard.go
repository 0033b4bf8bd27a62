package hub

import (
	"sync"
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// maxJobs and maxJobBytes bound the publications that wait for a shard.
	// When they are reached the feed waits: a full feed is repaired from the
	// log, a lost publication here would not be.
	maxJobs     = 1024
	maxJobBytes = 32 << 20
	// roundJobs and roundBytes bound what is queued to sockets before the next
	// write, so that a burst coalesces but never fills an innocent outbox.
	roundJobs  = 64
	roundBytes = 256 << 10
	// gatherBytes is the largest write that is gathered in scratch memory.
	gatherBytes = 64 << 10
)

// job is one publication (or gap) on its way to the subscribers of one shard.
type job struct {
	to *subscribers
	p  *prepared
}

// shard owns the outboxes of its connections and writes them. Everything below
// `loop` belongs to its goroutine alone.
type shard struct {
	hub *Hub
	id  int

	mu    sync.Mutex
	work  sync.Cond // jobs, dirtied or stopping changed
	space sync.Cond // jobs were taken
	jobs  []job
	bytes int
	// dirtied are outboxes that others have put frames into.
	dirtied  []*outbox
	stopping bool

	slabMu  sync.Mutex
	slab    slab
	clients map[string]*Client // by socket id

	loop struct {
		jobs   []job
		dirty  []*outbox
		batch  []*Frame
		gather []byte
		// frames and writes have not been added to the shard's totals yet.
		frames, writes uint64
		// behind has, for outboxes that were full, the channels with
		// publications that wait for room.
		behind map[*outbox][]*subscribers
	}

	frames, writes, blocks, overflows, delivered, conflated atomic.Uint64
}

func newShard(h *Hub, id int) *shard {
	s := &shard{hub: h, id: id, clients: map[string]*Client{}}
	s.work.L, s.space.L = &s.mu, &s.mu
	s.loop.gather = make([]byte, 0, gatherBytes)
	s.loop.behind = map[*outbox][]*subscribers{}
	return s
}

// post hands a job to the shard and waits while the shard is too far behind.
func (s *shard) post(j job) {
	s.mu.Lock()
	for (len(s.jobs) >= maxJobs || s.bytes > maxJobBytes) && !s.stopping {
		s.space.Wait()
	}
	s.jobs = append(s.jobs, j)
	s.bytes += j.p.weight
	s.mu.Unlock()
	s.work.Signal()
}

// mark tells the shard that an outbox has something to write.
func (s *shard) mark(o *outbox) {
	s.mu.Lock()
	s.dirtied = append(s.dirtied, o)
	s.mu.Unlock()
	s.work.Signal()
}

func (s *shard) stop() {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.work.Broadcast()
	s.space.Broadcast()
}

// run serves the shard until stop.
func (s *shard) run() {
	for s.next() {
		for i := range s.loop.jobs {
			s.deliver(s.loop.jobs[i])
		}
		clear(s.loop.jobs)
		for i, o := range s.loop.dirty {
			s.flush(o)
			s.loop.dirty[i] = nil
			if i%64 == 63 {
				s.count()
			}
		}
		s.count()
		s.loop.dirty = s.loop.dirty[:0]
	}
}

// count adds to the totals what was written.
func (s *shard) count() {
	s.frames.Add(s.loop.frames)
	s.writes.Add(s.loop.writes)
	s.loop.frames, s.loop.writes = 0, 0
}

// next waits for work and takes a round of it.
func (s *shard) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.jobs) == 0 && len(s.dirtied) == 0 {
		if s.stopping {
			return false
		}
		s.work.Wait()
	}
	n, size := 0, 0
	for n < len(s.jobs) && n < roundJobs && size < roundBytes {
		size += s.jobs[n].p.weight
		n++
	}
	s.loop.jobs = append(s.loop.jobs[:0], s.jobs[:n]...)
	rest := copy(s.jobs, s.jobs[n:])
	clear(s.jobs[rest:])
	s.jobs = s.jobs[:rest]
	s.bytes -= size
	s.loop.dirty = append(s.loop.dirty, s.dirtied...)
	clear(s.dirtied)
	s.dirtied = s.dirtied[:0]
	if n > 0 {
		s.space.Broadcast()
	}
	return true
}

// join gives a new connection its outbox and its place in the shard.
func (s *shard) join(c *Client) {
	s.slabMu.Lock()
	defer s.slabMu.Unlock()
	o := s.slab.get()
	o.mu.Lock()
	c.sock = newSocket(c.conn)
	o.client, o.sock, o.v2, o.deflates = c, c.sock, c.dialect == pusher.V2, c.deflates
	o.mu.Unlock()
	o.seen.Store(s.hub.opt.Now().UnixNano())
	c.out = o
	s.clients[c.id] = c
}

// leave takes a connection out of the shard's index. Its outbox is used again
// only when no dirty list and no writer can know it any more.
func (s *shard) leave(c *Client) {
	s.slabMu.Lock()
	delete(s.clients, c.id)
	s.slabMu.Unlock()
	o := c.out
	o.mu.Lock()
	o.flags |= retired
	wake := o.flags&(dirty|blocked) == 0
	if wake {
		o.flags |= dirty
	}
	o.mu.Unlock()
	if wake {
		s.mark(o)
	}
}

// release is called by the shard's goroutine.
func (s *shard) release(o *outbox) {
	delete(s.loop.behind, o)
	s.slabMu.Lock()
	s.slab.put(o)
	s.slabMu.Unlock()
}

// find returns the connection with this socket id, or nil.
func (s *shard) find(id string) *Client {
	s.slabMu.Lock()
	defer s.slabMu.Unlock()
	return s.clients[id]
}

// snapshot lists the connections of the shard.
func (s *shard) snapshot(into []*Client) []*Client {
	s.slabMu.Lock()
	defer s.slabMu.Unlock()
	for _, c := range s.clients {
		into = append(into, c)
	}
	return into
}

// queued counts the frames and bytes that wait for the sockets of the shard.
func (s *shard) queued() (frames, bytes int) {
	for _, c := range s.snapshot(nil) {
		c.out.mu.Lock()
		frames += int(c.out.count)
		bytes += c.out.queued
		c.out.mu.Unlock()
	}
	return frames, bytes
}
