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
	}

	frames, writes, blocks, overflows, delivered atomic.Uint64
}

func newShard(h *Hub, id int) *shard {
	s := &shard{hub: h, id: id, clients: map[string]*Client{}}
	s.work.L, s.space.L = &s.mu, &s.mu
	s.loop.gather = make([]byte, 0, gatherBytes)
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
		}
		s.loop.dirty = s.loop.dirty[:0]
	}
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

// deliver puts a publication into the outboxes of the shard's subscribers.
func (s *shard) deliver(j job) {
	var c choice
	c.init(j.p)
	sent := uint64(0)
	lim := &s.hub.limits
	j.to.mu.Lock()
	for i := range j.to.list {
		sub := &j.to.list[i]
		f := c.pick(sub)
		if f == nil {
			continue
		}
		if f == s.hub.reconnect {
			if sub.out.end(f, nil) {
				s.loop.dirty = append(s.loop.dirty, sub.out)
			}
			continue
		}
		switch sub.out.push(f, lim, nil) {
		case wakes:
			s.loop.dirty = append(s.loop.dirty, sub.out)
		case overflowed:
			s.overflows.Add(1)
			s.loop.dirty = append(s.loop.dirty, sub.out)
		case dropped:
			continue
		}
		sent++
	}
	j.to.advance(j.p)
	j.to.mu.Unlock()
	s.delivered.Add(sent)
	c.report(j.p.channel.metrics)
}

// flush writes what an outbox holds, or hands the socket to a goroutine of its
// own when the kernel takes no more.
func (s *shard) flush(o *outbox) {
	for {
		o.mu.Lock()
		if o.flags&retired != 0 {
			o.mu.Unlock()
			s.release(o)
			return
		}
		if o.flags&(blocked|dead) != 0 {
			o.flags &^= dirty
			o.mu.Unlock()
			return
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
		o.mu.Unlock()

		p := s.gathered(total)
		n, err := o.sock.tryWrite(p)
		s.frames.Add(uint64(len(s.loop.batch)))
		s.writes.Add(1)
		clear(s.loop.batch)
		if err == nil {
			continue
		}
		o.mu.Lock()
		o.flags &^= dirty
		if err != errWouldBlock {
			o.flags |= dead
			o.clear()
			o.mu.Unlock()
			o.sock.abort()
			return
		}
		o.flags |= blocked
		o.queued += total - n
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
		o.queued -= len(rest)
		if err != nil {
			o.flags |= dead
			o.flags &^= blocked
			o.clear()
			isRetired := o.flags&retired != 0
			if isRetired {
				o.flags |= dirty
			}
			o.mu.Unlock()
			if isRetired {
				s.mark(o)
				return
			}
			s.overflows.Add(1)
			sock.abort()
			return
		}
		if o.count == 0 {
			o.flags &^= blocked
			ends, isRetired := o.flags&closing != 0, o.flags&retired != 0
			if isRetired {
				o.flags |= dirty
			}
			o.mu.Unlock()
			if isRetired {
				s.mark(o)
			} else if ends {
				sock.finish(s.hub.opt.Linger)
			}
			return
		}
		var total int
		batch, total = o.take(batch[:0], gatherBytes)
		o.queued += total
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

// join gives a new connection its outbox and its place in the shard.
func (s *shard) join(c *Client) {
	s.slabMu.Lock()
	defer s.slabMu.Unlock()
	o := s.slab.get()
	o.mu.Lock()
	o.client, o.sock, o.v2 = c, newSocket(c.conn), c.dialect == pusher.V2
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

func (s *shard) release(o *outbox) {
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
