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
	// maxJobs and maxJobBytes bound the publications that wait for a shard.
	// When they are reached the feed waits: a full feed is repaired from the
	// log, a lost publication here would not be.
	maxJobs     = 1024
	maxJobBytes = 32 << 20
	// roundJobs and roundBytes bound what is queued to sockets before the next
	// write, so that a burst coalesces but never fills an innocent outbox.
	roundJobs  = 64
	roundBytes = 256 << 10
	// roundWakes bounds those who are let go on through the past in one round: few, because what is
	// published meanwhile waits for the end of the round.
	roundWakes = 32
)

// Prepared is what goes to the subscribers of a channel, in one order: an *[Event], a *[gap],
// a *[notice] or what is cast.
type Prepared interface {
	// weight is about what it takes in memory, in bytes.
	weight() int
	// deliver gives it to the subscribers of a shard. Called by whoever does a round of it.
	deliver(*Shard, *Subscribers)
	// passed notes that everybody was given it. The caller holds the lock.
	passed(*Subscribers)
}

// job is one of them on its way to the subscribers of one shard. Without one it says that a
// socket may go on through the past, or what else is to be done, without any lock.
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

// Shard has the goroutine that puts publications into the outboxes of its connections and
// writes them. What is in loop belongs to whoever is busy.
type Shard struct {
	hall *Hall
	ID   int

	mu    rank.Mutex[rank.Shard]
	work  sync.Cond // jobs, woken, dirtied or stopping changed
	space sync.Cond // jobs were taken
	jobs  []job
	bytes int
	// woken may go on through the past. They are as many as there are ways, and wait apart from
	// the publications, which must not wait for them.
	woken []job
	// dirtied are outboxes that others have put frames into.
	dirtied  []*socket.Outbox
	stopping bool
	// busy says that somebody does a round: the goroutine of the shard, or whoever found it idle,
	// for whom the goroutine waits. last is when something was posted last.
	busy bool
	last time.Time
	// laden says that half of the room for publications is used.
	laden atomic.Bool

	Writer *socket.Writer

	loop struct {
		jobs  []job
		dirty []*socket.Outbox
		// behind has, for outboxes that were full, the channels with
		// publications that wait for room.
		behind map[*socket.Outbox][]*Subscribers
		// past is how many bytes of the past may still be sent in this round, and later
		// has who goes on in the next one.
		past  int
		later []job
		// handed are the events of this round that somebody got.
		handed []Handed
	}

	Delivered, Conflated, Unheard atomic.Uint64
}

// Handed is an event that a shard has handed to sockets: written, or queued for those that are
// behind. Stored is when the log stored it.
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

// post hands a job to the shard and waits while the shard is too far behind.
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
	// hereSockets and hereBytes bound what is done where it is posted: the few writes cost less
	// than waking the goroutine of the shard.
	hereSockets, hereBytes = 32, 64 << 10
	// herePause must have passed since something was posted before. What comes faster is left to
	// the goroutine, so that one write takes several frames.
	herePause = 100 * time.Microsecond
)

// doneHere does a job at once if the shard has nothing else to do, as the shard's goroutine would,
// and reports whether it did.
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

// waits says whether there is something to do. The lock is held.
func (s *Shard) waits() bool { return len(s.jobs) > 0 || len(s.woken) > 0 || len(s.dirtied) > 0 }

// weigh notes whether much waits. The lock is held.
func (s *Shard) weigh() {
	if laden := len(s.jobs) > maxJobs/2 || s.bytes > maxJobBytes/2; laden != s.laden.Load() {
		s.laden.Store(laden)
	}
}

// wake lets a way go on. It does not wait.
func (s *Shard) wake(j job) {
	s.mu.Lock()
	s.woken = append(s.woken, j)
	s.mu.Unlock()
	s.work.Signal()
}

// Call has the shard's goroutine call f. It waits while the shard is too far behind, so the
// caller holds no lock.
func (s *Shard) Call(f func()) { s.post(job{then: f}) }

// Defer calls f once the shard holds no lock. Only the shard's goroutine calls it.
func (s *Shard) Defer(f func()) { s.loop.later = append(s.loop.later, job{then: f}) }

// Mark implements [socket.Loop].
func (s *Shard) Mark(o *socket.Outbox) {
	s.mu.Lock()
	s.dirtied = append(s.dirtied, o)
	s.mu.Unlock()
	s.work.Signal()
}

// Open gives a connection its socket.
func (s *Shard) Open(conn net.Conn, kind *socket.Kind) *socket.Socket {
	return s.Writer.Open(conn, kind)
}

// Waiting is the number of publications that wait for the shard.
func (s *Shard) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs)
}

// Woken is the number of ways through the past that wait for their turn.
func (s *Shard) Woken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.woken)
}

// Stop ends Run when nothing waits any more.
func (s *Shard) Stop() {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.work.Broadcast()
	s.space.Broadcast()
}

// Run serves the shard until stop.
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

// flush writes what the round has put into outboxes.
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

// tellHanded tells of the events of the round: one look at the clock for all of them.
func (s *Shard) tellHanded() {
	if len(s.loop.handed) > 0 && s.hall.Handed != nil {
		s.hall.Handed(s.loop.handed)
	}
	s.loop.handed = s.loop.handed[:0]
}

// next waits for work and takes a round of it.
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
