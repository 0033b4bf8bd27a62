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

// Line is the view that a log has of one channel. Begin, End, Read, Ask and Inquire are called without the
// follower's lock. The functions that Read, Ask and Inquire return, and all other methods, are called with
// it.
type Line[M any] interface {
	// Begin subscribes to the channel, finds its position, and reports it with [Follower.Start].
	Begin(ctx context.Context) error
	// End releases what Begin acquired. It is called once, after Begin has returned.
	End()
	// Accept judges messages that were held, in the order of their arrival. Messages that must still wait are
	// held again.
	Accept(held []M)
	// Read reads the log after the follower's position. Ask reads the next publication from the authoritative
	// copy of the log, usually its leader. Inquire resolves a doubt about the position. The function that
	// each returns applies what was read and reports the result.
	Read(ctx context.Context) (func() Found, error)
	Ask(ctx context.Context) (func() Found, error)
	Inquire(ctx context.Context) (func() Found, error)
	// GiveUp continues after publications that could not be read, usually with a gap.
	GiveUp()
}

// Follower follows one channel for all its sinks. Lines call its methods; some of these require its lock, as
// their comments say.
type Follower[M any] struct {
	// App and Channel name the followed channel. Key identifies its live messages.
	App, Channel, Key string

	feed  *Feed[M]
	shard *shard[M]
	line  Line[M]
	// begun is closed when the position is known or when failed is set.
	begun  chan struct{}
	failed error
	// unsubscribe makes sure that the line's End runs once.
	unsubscribe sync.Once
	// users counts attachments and callers that wait for the beginning. The shard's lock guards it.
	users int
	// missed is set when the channel must be compared with the log soon. audited is the time of the last
	// comparison in Unix nanoseconds.
	missed  atomic.Bool
	audited atomic.Int64

	mu      rank.Mutex[rank.Follower]
	course  course[M]
	transit transit
}

// Line returns the line of the channel.
func (f *Follower[M]) Line() Line[M] { return f.line }

// Shard returns the number of the shard that holds the channel.
func (f *Follower[M]) Shard() int { return f.shard.number }

// Lock takes the lock. The holder ends with [Follower.Leave] if it may have given something,
// and with [Follower.Unlock] otherwise.
func (f *Follower[M]) Lock() { f.mu.Lock() }

// Unlock releases the lock.
func (f *Follower[M]) Unlock() { f.mu.Unlock() }

// Enter takes in a live message of size bytes. If it reports true, the lock is held, and the caller judges
// the message now and then calls [Follower.Leave]. Otherwise the lock is free, and the message is held, or
// dropped because the follower has ended.
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

// Leave delivers queued notices to the sinks, without the lock, and then releases the lock. If another
// goroutine is already delivering, that goroutine delivers them instead. The caller holds the lock.
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

// LeaveToOthers releases the lock and lets a new goroutine deliver queued notices, so that the caller does
// not wait for the sinks. The caller holds the lock.
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

// Prompt reports whether all sinks would take a publication now without blocking. A sink that cannot tell
// counts as one that blocks.
func (f *Follower[M]) Prompt() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.course.sinks {
		if sink, ok := a.sink.(broker.Prompt); !ok || !sink.Prompt() {
			return false // this sink may block the goroutine that delivers
		}
	}
	return true
}

// At returns the position of the last publication or gap that was passed on. The caller holds the lock.
func (f *Follower[M]) At() broker.Position { return f.course.at }

// Following reports whether messages are judged as they come. The caller holds the lock.
func (f *Follower[M]) Following() bool { return f.course.state == following }

// Repairing reports whether a repair of the channel is in progress. The caller holds the lock.
func (f *Follower[M]) Repairing() bool { return f.course.state == repairing }

// Begun reports whether the channel is followed or repaired. The caller holds the lock.
func (f *Follower[M]) Begun() bool { return f.Following() || f.Repairing() }

// Start begins following at a position. empty is true if the log has no publication of the channel. The
// caller holds the lock.
func (f *Follower[M]) Start(at broker.Position, empty bool) {
	f.course.at, f.course.empty = at, empty
	f.Resume()
}

// Stand sets the offset of the position without delivering anything. The caller holds the lock.
func (f *Follower[M]) Stand(offset uint64) { f.course.at.Offset = offset }

// Give queues a publication for the sinks if it lies above the position. The caller holds the lock.
func (f *Follower[M]) Give(p *broker.Publication) { f.course.give(p) }

// Gap queues a gap notice: publications are missing between the position and resume, which becomes the
// position. The caller holds the lock.
func (f *Follower[M]) Gap(resume broker.Position, reason broker.GapReason) {
	f.feed.counters.gap(reason)
	f.course.gap(resume, reason, false)
}

// Renew queues a gap notice for a new epoch of the log that begins at a position. empty is true if the log
// has no publication of the channel there. The caller holds the lock.
func (f *Follower[M]) Renew(at broker.Position, empty bool) {
	f.feed.counters.gap(broker.GapEpoch)
	f.course.gap(at, broker.GapEpoch, empty)
}

// Hear delivers an event that is not stored in the log to the sinks at once. The goroutine of the channel's
// shard calls it, without the lock.
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

// Hold keeps a message of size bytes until the channel is followed again. The caller holds the lock.
func (f *Follower[M]) Hold(m M, size int) { f.course.hold(m, size) }

// Held returns the held messages. They may be changed in place. The caller holds the lock.
func (f *Follower[M]) Held() []M { return f.course.held }

// Keep drops the held messages for which keep returns false. The caller holds the lock.
func (f *Follower[M]) Keep(keep func(M) bool) {
	f.course.held = slices.DeleteFunc(f.course.held, func(m M) bool { return !keep(m) })
}

// Dropped reports whether held messages were dropped since its last call. The caller holds the lock.
func (f *Follower[M]) Dropped() bool {
	was := f.course.dropped
	f.course.dropped = false
	return was
}

// Repair starts a repair, which begins with [Read] or [Inquire]. The caller holds the lock.
func (f *Follower[M]) Repair(first Do) {
	f.course.state = repairing
	if first == Read {
		f.feed.counters.Repairs.Add(1)
	}
	f.feed.opt.Go(func() { f.repair(first) })
}

// Resume returns to following. The held messages are judged by the next [Follower.Leave]. The caller holds
// the lock.
func (f *Follower[M]) Resume() {
	if f.course.state == ended {
		return
	}
	f.course.state = following
	if f.missed.Load() {
		f.feed.opt.Wake()
	}
}

// Miss records that live messages were missed.
func (f *Follower[M]) Miss() { f.missed.Store(true) }

// Missed reports whether live messages were missed since the last comparison with the log began.
func (f *Follower[M]) Missed() bool { return f.missed.Load() }

// Audited returns the time of the last comparison with the log in Unix nanoseconds, 0 if there was none.
func (f *Follower[M]) Audited() int64 { return f.audited.Load() }

// Auditing records that a comparison with the log begins. Messages missed from now on need another one.
func (f *Follower[M]) Auditing(now time.Time) {
	f.missed.Store(false)
	f.audited.Store(now.UnixNano())
}

// begin runs the line's Begin. All callers that wait for the channel share it, so it does not use the context
// of one of them.
func (f *Follower[M]) begin() {
	ctx, cancel := context.WithTimeout(f.feed.opt.Context, f.feed.opt.AttachTimeout)
	defer cancel()
	f.failed = f.line.Begin(ctx)
	if f.failed != nil {
		f.end()
		// The next caller must get a new follower, not the failed one.
		f.shard.forget(f)
	}
	close(f.begun)
}

func (f *Follower[M]) end() {
	f.mu.Lock()
	f.course.end()
	f.mu.Unlock()
}

// close ends the follower and its line. It is called after begin has returned.
func (f *Follower[M]) close() {
	f.end()
	f.unsubscribe.Do(f.line.End)
}
