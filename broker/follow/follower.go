package follow

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

// Line is one channel as its log knows it. What reads the log is called without the lock of
// the follower; what that returns, and all the rest but Begin and End, with it.
type Line[M any] interface {
	// Begin subscribes, finds out where the channel is, and says so with [Follower.Start].
	Begin(ctx context.Context) error
	// End gives up what Begin subscribed. It is called once, after Begin.
	End()
	// Accept judges messages that were held, in the order in which they came. What must still
	// wait is held again.
	Accept(held []M)
	// Read reads the log behind what was given, Ask the next publication from where the answer
	// is the truth. Inquire finds out what a doubt is about. What they return takes over what
	// was read, and says what it was.
	Read(ctx context.Context) (func() Found, error)
	Ask(ctx context.Context) (func() Found, error)
	Inquire(ctx context.Context) (func() Found, error)
	// GiveUp goes on behind what could not be read.
	GiveUp()
}

// Follower follows one channel for all its sinks. Lines use it; those of its methods that say
// so need its lock.
type Follower[M any] struct {
	// App and Channel name what is followed, Key the live messages of it.
	App, Channel, Key string

	feed  *Feed[M]
	shard *shard[M]
	line  Line[M]
	// begun is closed when the position is known or failed is set.
	begun  chan struct{}
	failed error
	// unsubscribe makes sure that the line ends once.
	unsubscribe sync.Once
	// users belongs to the shard's lock.
	users int
	// missed is set when the channel must be compared with the log soon, audited when that was
	// done last.
	missed  atomic.Bool
	audited atomic.Int64

	mu      rank.Mutex[rank.Follower]
	course  course[M]
	transit transit
}

// Line is what knows of the log of the channel.
func (f *Follower[M]) Line() Line[M] { return f.line }

// Shard is the number of the part of the channels to which this one belongs.
func (f *Follower[M]) Shard() int { return f.shard.number }

// Lock takes the lock. Every holder ends with [Follower.Leave] if he may have given something,
// and with [Follower.Unlock] otherwise.
func (f *Follower[M]) Lock() { f.mu.Lock() }

// Unlock gives the lock back.
func (f *Follower[M]) Unlock() { f.mu.Unlock() }

// Enter takes a live message of a size in bytes. It reports true, with the lock taken, if the
// message is to be judged now, after which comes [Follower.Leave]; otherwise it is held, or
// nobody wants it any more.
func (f *Follower[M]) Enter(m M, size int) bool {
	f.mu.Lock()
	if f.course.free() {
		return true
	}
	if f.course.state != ended {
		f.course.hold(m, size)
	}
	f.mu.Unlock()
	return false
}

// Leave gives the lock back after the sinks were told what is to be told, without the lock. If
// somebody is telling, that is left to him.
func (f *Follower[M]) Leave() {
	c := &f.course
	if c.telling {
		f.mu.Unlock()
		return
	}
	for c.telling = true; ; {
		if held := c.due(); held != nil {
			f.line.Accept(held)
		}
		if len(c.out) == 0 {
			break
		}
		out := c.take()
		f.mu.Unlock()
		for i := range out {
			out[i].tell()
		}
		f.mu.Lock()
		c.done(out)
	}
	c.telling = false
	if c.told != nil {
		close(c.told)
		c.told = nil
	}
	f.mu.Unlock()
}

// LeaveToOthers gives the lock back and has somebody else tell what is to be told, who waits
// for the sinks in place of the caller.
func (f *Follower[M]) LeaveToOthers() {
	waiting := len(f.course.out) > 0 && !f.course.telling
	f.mu.Unlock()
	if waiting {
		f.feed.opt.Go(func() {
			f.mu.Lock()
			f.Leave()
		})
	}
}

// Prompt says whether giving something now would wait for nobody, as far as the sinks can tell.
func (f *Follower[M]) Prompt() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.course.sinks {
		if sink, ok := a.sink.(broker.Prompt); !ok || !sink.Prompt() {
			return false // then whoever tells waits
		}
	}
	return true
}

// At is the position that was given. The lock is held.
func (f *Follower[M]) At() broker.Position { return f.course.at }

// Following says whether messages are judged as they come. The lock is held.
func (f *Follower[M]) Following() bool { return f.course.state == following }

// Repairing says whether the log is read for the channel. The lock is held.
func (f *Follower[M]) Repairing() bool { return f.course.state == repairing }

// Begun says whether the channel is followed, or repaired. The lock is held.
func (f *Follower[M]) Begun() bool { return f.Following() || f.Repairing() }

// Start begins at a position; empty says that the log has nothing of the channel. The lock is
// held.
func (f *Follower[M]) Start(at broker.Position, empty bool) {
	f.course.at, f.course.empty = at, empty
	f.Resume()
}

// Stand puts the position elsewhere, where nothing was given. The lock is held.
func (f *Follower[M]) Stand(offset uint64) { f.course.at.Offset = offset }

// Give has a publication told if it lies above the position. The lock is held.
func (f *Follower[M]) Give(p *broker.Publication) { f.course.give(p) }

// Gap has it told that publications are missing between the position and another one, which is
// that of the channel from now on. The lock is held.
func (f *Follower[M]) Gap(resume broker.Position, reason broker.GapReason) {
	f.feed.counters.gap(reason)
	f.course.gap(resume, reason, false)
}

// Renew has it told that a new life of the log begins, at a position; empty says that the log has
// nothing of the channel there. The lock is held.
func (f *Follower[M]) Renew(at broker.Position, empty bool) {
	f.feed.counters.gap(broker.GapEpoch)
	f.course.gap(at, broker.GapEpoch, empty)
}

// Hear gives the sinks what has no place in the log, now. The shard that gives the channel its
// live messages calls it, without the lock.
func (f *Follower[M]) Hear(e *broker.Publication) {
	f.mu.Lock()
	sinks := f.course.sinks
	f.mu.Unlock()
	f.feed.counters.Heard.Add(1)
	for _, a := range sinks {
		if sink, ok := a.sink.(broker.Listener); ok && !a.gone.Load() {
			sink.Heard(e)
		}
	}
}

// Hold keeps a message of a size in bytes until the channel is followed again. The lock is held.
func (f *Follower[M]) Hold(m M, size int) { f.course.hold(m, size) }

// Held are the messages that are held. They may be changed in place. The lock is held.
func (f *Follower[M]) Held() []M { return f.course.held }

// Keep lets go what is held of which keep is false. The lock is held.
func (f *Follower[M]) Keep(keep func(M) bool) {
	f.course.held = slices.DeleteFunc(f.course.held, func(m M) bool { return !keep(m) })
}

// Dropped says once that held messages were given up. The lock is held.
func (f *Follower[M]) Dropped() bool {
	was := f.course.dropped
	f.course.dropped = false
	return was
}

// Repair has the channel read from the log, beginning with [Read] or [Inquire]. The lock is
// held.
func (f *Follower[M]) Repair(first Do) {
	f.course.state = repairing
	if first == Read {
		f.feed.counters.Repairs.Add(1)
	}
	f.feed.opt.Go(func() { f.repair(first) })
}

// Resume goes back to following. What was held is judged when the lock is left. The lock is
// held.
func (f *Follower[M]) Resume() {
	if f.course.state == ended {
		return
	}
	f.course.state = following
	if f.missed.Load() {
		f.feed.opt.Wake()
	}
}

// Miss notes that live messages were missed.
func (f *Follower[M]) Miss() { f.missed.Store(true) }

// Missed says whether messages were missed since the channel was compared last.
func (f *Follower[M]) Missed() bool { return f.missed.Load() }

// Audited is when the channel was compared with the log last, 0 if it was not.
func (f *Follower[M]) Audited() int64 { return f.audited.Load() }

// Auditing notes that the channel is about to be compared with the log: what is missed from now
// on counts anew.
func (f *Follower[M]) Auditing(now time.Time) {
	f.missed.Store(false)
	f.audited.Store(now.UnixNano())
}

// begin has the line begin. It belongs to all who wait for it, so none of them can break it off
// for the others.
func (f *Follower[M]) begin() {
	ctx, cancel := context.WithTimeout(f.feed.opt.Context, f.feed.opt.AttachTimeout)
	defer cancel()
	f.failed = f.line.Begin(ctx)
	if f.failed != nil {
		f.end()
		// The next one to come must find no failed follower.
		f.shard.forget(f)
	}
	close(f.begun)
}

func (f *Follower[M]) end() {
	f.mu.Lock()
	f.course.end()
	f.mu.Unlock()
}

// close ends what has begun or failed to.
func (f *Follower[M]) close() {
	f.end()
	f.unsubscribe.Do(f.line.End)
}
