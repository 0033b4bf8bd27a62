package fanout

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/gateway/socket"
)

const (
	// maxJobs and maxJobBytes bound the publications that wait for a shard. When a bound is reached, the feed
	// waits. What the feed loses is repaired from the log, but a publication that was dropped here would not
	// be.
	maxJobs     = 1024
	maxJobBytes = 32 << 20
	// roundJobs and roundBytes bound what is queued to sockets before the next write. So a burst is written
	// together but never fills the outbox of a socket that reads.
	roundJobs  = 64
	roundBytes = 256 << 10
	// roundWakes bounds the ways that may continue in one round, because publications wait for the end of the
	// round.
	roundWakes = 32
)

// Prepared is something that goes to the subscribers of a channel, all in one order: an *[Event], a *[gap], a
// *[notice], an *[erased] or a [cast].
type Prepared interface {
	// weight returns about how many bytes of memory it takes.
	weight() int
	// deliver gives it to the subscribers of a shard. The goroutine that runs the round of the shard calls
	// it.
	deliver(*Shard, *Subscribers)
	// passed notes that all subscribers were given it. The caller holds the lock of the subscribers.
	passed(*Subscribers)
}

// job is a Prepared on its way to the subscribers of one shard. Without one, it is a way that may continue
// (behind), or a function to be called without any lock (then).
type job struct {
	to     *Subscribers
	p      Prepared
	behind *socket.Outbox
	then   func()
}

func (j job) weight() int {
	if j.p == nil {
		return 64
	}
	return j.p.weight()
}

// Shard has the goroutine that puts publications into the outboxes of its connections and writes them. The
// fields in loop belong to the goroutine that has set busy.
type Shard struct {
	hall *Hall
	ID   int

	mu    rank.Mutex[rank.Shard]
	work  sync.Cond // jobs, woken, dirtied, busy or stopping changed
	space sync.Cond // jobs were taken
	jobs  []job
	bytes int
	// woken are ways that may continue. There may be as many as there are ways. They wait apart from the
	// publications, which must not wait for them.
	woken []job
	// dirtied are outboxes into which other goroutines have put frames.
	dirtied  []*socket.Outbox
	stopping bool
	// busy says that a goroutine runs a round: that of the shard, or a posting one that found the shard idle.
	// The goroutine of the shard then waits for it. last is when something was last posted.
	busy bool
	last time.Time
	// laden says that half of the room for publications is used.
	laden atomic.Bool

	Writer *socket.Writer

	loop struct {
		jobs  []job
		dirty []*socket.Outbox
		// behind has, for outboxes that were full, the channels with publications that wait for room.
		behind map[*socket.Outbox][]*Subscribers
		// past is how many bytes of the past may still be sent in this round, and later are the jobs of the
		// next round.
		past  int
		later []job
		// handed are the events of this round that a socket got.
		handed []Handed
	}

	Delivered, Conflated, Unheard atomic.Uint64
}

// Handed is an event that a shard has handed to sockets: written, or queued for slow ones. Stored is when the
// log stored it.
type Handed struct {
	App    string
	Stored time.Time
}

func newShard(h *Hall, id int) *Shard {
	s := &Shard{hall: h, ID: id}
	s.work.L, s.space.L = &s.mu, &s.mu
	s.Writer = h.Sockets.NewWriter(s)
	s.loop.behind = map[*socket.Outbox][]*Subscribers{}
	return s
}

// post gives a job to the shard. It waits while the shard is full.
func (s *Shard) post(j job) {
	s.mu.Lock()
	for (len(s.jobs) >= maxJobs || s.bytes > maxJobBytes) && !s.stopping {
		s.space.Wait()
	}
	s.jobs = append(s.jobs, j)
	s.bytes += j.weight()
	s.weigh()
	s.mu.Unlock()
	s.work.Signal()
}

const (
	// hereSockets and hereBytes bound what the posting goroutine does itself: these few writes cost less than
	// waking the goroutine of the shard.
	hereSockets, hereBytes = 32, 64 << 10
	// herePause is the least time since the last post. Faster events are left to the goroutine of the shard,
	// so that one write takes several frames.
	herePause = 100 * time.Microsecond
)

// doneHere does a job in the calling goroutine if the shard is idle and the job small, and reports whether it
// did.
func (s *Shard) doneHere(j job, sockets int) bool {
	now := time.Now()
	s.mu.Lock()
	soon := now.Sub(s.last) < herePause
	s.last = now
	_, isEvent := j.p.(*Event)
	if soon || !isEvent || sockets > hereSockets || sockets*j.weight() > hereBytes || s.busy || s.stopping || s.waits() {
		s.mu.Unlock()
		return false
	}
	s.busy = true
	s.mu.Unlock()
	s.loop.past = roundPast
	j.p.deliver(s, j.to)
	s.flush()
	s.mu.Lock()
	s.busy = false
	more := s.waits() || s.stopping || len(s.loop.later) > 0
	s.mu.Unlock()
	if more {
		s.work.Signal()
	}
	return true
}

// waits reports whether there is something to do. The caller holds the lock.
func (s *Shard) waits() bool { return len(s.jobs) > 0 || len(s.woken) > 0 || len(s.dirtied) > 0 }

// weigh updates laden. The caller holds the lock.
func (s *Shard) weigh() {
	if laden := len(s.jobs) > maxJobs/2 || s.bytes > maxJobBytes/2; laden != s.laden.Load() {
		s.laden.Store(laden)
	}
}

// wake lets a way continue. It never waits.
func (s *Shard) wake(j job) {
	s.mu.Lock()
	s.woken = append(s.woken, j)
	s.mu.Unlock()
	s.work.Signal()
}

// Call makes the shard's goroutine call f. It waits while the shard is full, so the caller must hold no lock.
func (s *Shard) Call(f func()) { s.post(job{then: f}) }

// Defer calls f once the shard holds no lock. Only the goroutine that runs a round of the shard calls it.
func (s *Shard) Defer(f func()) { s.loop.later = append(s.loop.later, job{then: f}) }

// Mark implements [socket.Loop].
func (s *Shard) Mark(o *socket.Outbox) {
	s.mu.Lock()
	s.dirtied = append(s.dirtied, o)
	s.mu.Unlock()
	s.work.Signal()
}

// Open returns a socket for a connection.
func (s *Shard) Open(conn net.Conn, kind *socket.Kind) *socket.Socket {
	return s.Writer.Open(conn, kind)
}

// Waiting returns the number of publications that wait for the shard.
func (s *Shard) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs)
}

// Woken returns the number of ways that wait for their turn.
func (s *Shard) Woken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.woken)
}

// Stop makes Run return once nothing waits any more.
func (s *Shard) Stop() {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.work.Broadcast()
	s.space.Broadcast()
}

// Run serves the shard until Stop.
func (s *Shard) Run() {
	for s.next() {
		s.loop.past = roundPast
		for i := range s.loop.jobs {
			if j := s.loop.jobs[i]; j.p == nil {
				s.goOn(j)
			} else {
				j.p.deliver(s, j.to)
			}
		}
		clear(s.loop.jobs)
		s.flush()
		for _, j := range s.loop.later {
			s.goOn(j)
		}
		clear(s.loop.later)
		s.loop.later = s.loop.later[:0]
		for _, o := range s.loop.dirty {
			s.Mark(o)
		}
		s.loop.dirty = s.loop.dirty[:0]
	}
}

// flush writes the outboxes into which the round has put frames.
func (s *Shard) flush() {
	for i, o := range s.loop.dirty {
		s.Writer.Flush(o)
		s.loop.dirty[i] = nil
		if i%64 == 63 {
			s.Writer.Count()
		}
	}
	s.Writer.Count()
	s.loop.dirty = s.loop.dirty[:0]
	s.tellHanded()
}

// tellHanded reports the events of the round, with one reading of the clock for all of them.
func (s *Shard) tellHanded() {
	if len(s.loop.handed) > 0 && s.hall.Handed != nil {
		s.hall.Handed(s.loop.handed)
	}
	s.loop.handed = s.loop.handed[:0]
}

// next waits for work and takes a round of it. It reports false after Stop.
func (s *Shard) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	for s.busy || !s.waits() && len(s.loop.later) == 0 {
		if !s.busy && s.stopping {
			return false
		}
		s.work.Wait()
	}
	s.busy = true
	n, size := 0, 0
	for n < len(s.jobs) && n < roundJobs && size < roundBytes {
		size += s.jobs[n].weight()
		n++
	}
	s.loop.jobs = append(s.loop.jobs[:0], s.jobs[:n]...)
	rest := copy(s.jobs, s.jobs[n:])
	clear(s.jobs[rest:])
	s.jobs = s.jobs[:rest]
	s.bytes -= size
	s.weigh()
	w := min(len(s.woken), roundWakes)
	s.loop.jobs = append(s.loop.jobs, s.woken[:w]...)
	rest = copy(s.woken, s.woken[w:])
	clear(s.woken[rest:])
	s.woken = s.woken[:rest]
	s.loop.dirty = append(s.loop.dirty, s.dirtied...)
	clear(s.dirtied)
	s.dirtied = s.dirtied[:0]
	if n > 0 {
		s.space.Broadcast()
	}
	return true
}

// Forget implements [socket.Loop].
func (s *Shard) Forget(o *socket.Outbox) { delete(s.loop.behind, o) }
