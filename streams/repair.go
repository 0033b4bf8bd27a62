package streams

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// page is a part of the log that was read from an offset inclusive, in a life of it.
type page struct {
	messages []stored
	after    uint64
	epoch    string
	// cut says that there may have been others before its first message.
	cut bool
}

// repair reads everything up to target from the log and then goes on following. The lock is
// held.
func (f *follower) repair(target uint64) {
	f.target = target
	f.checked = f.app.upset.Load()
	f.Repair(follow.Read)
}

// inquire has the leader answer a question before anything later is delivered. The lock is held.
func (f *follower) inquire(about doubt) {
	f.target, f.doubt, f.checked = f.track.last, about, f.app.upset.Load()
	f.Repair(follow.Inquire)
}

// place returns how far the channel is, in which life of the log.
func (f *follower) place() (after uint64, epoch string) {
	f.Lock()
	defer f.Unlock()
	return f.track.last, f.At().Epoch
}

// Read implements [follow.Line]. The message that was delivered last is read as well: it is the
// proof that none is missing.
func (f *follower) Read(ctx context.Context) (func() follow.Found, error) {
	if f.blind() {
		return f.Ask(ctx)
	}
	after, epoch := f.place()
	got, err := f.log.reader.page(ctx, f.app.stream, f.subject, after, pageSize)
	cut := false
	if err == nil && len(got) > 0 {
		cut, err = f.cut(ctx, got[0].offset)
	}
	if err != nil {
		return nil, err
	}
	return func() follow.Found {
		f.page = &page{got, after, epoch, cut}
		if f.track.misses(got) {
			return follow.Doubtful
		}
		return f.absorb()
	}, nil
}

// blind says whether a copy could say what it likes, as behind a new life of the log: nothing that was
// delivered contradicts one that has other places than the leader, and the next life would begin.
func (f *follower) blind() bool {
	f.Lock()
	defer f.Unlock()
	return f.target == toTheEnd && !f.track.anchored(f.origin) && f.app.copies.Load() > 1
}

// absorb takes over the page. The lock is held.
func (f *follower) absorb() follow.Found {
	p := f.page
	if f.page = nil; p == nil {
		return follow.Turned
	}
	if f.At().Epoch != p.epoch || f.track.last != p.after {
		return follow.Progress
	}
	if f.Dropped() {
		f.target = toTheEnd
	}
	r := f.track.read(p.messages, p.cut || f.track.anchored(f.origin), f.target, f.continues(p.after))
	if r.evicted > 0 && f.mayCome(p.after) {
		return follow.Awaited
	}
	if r.evicted > 0 {
		// The message that continuity was counted from is gone, and nobody
		// knows what went with it.
		f.missing(r.evicted, broker.GapEvicted)
	}
	for i := range r.messages {
		f.bring(&r.messages[i])
	}
	if r.found == follow.Complete {
		f.resume()
	}
	return r.found
}

// bring gives a message that was read. The lock is held.
func (f *follower) bring(m *stored) {
	m.prev = f.track.last
	f.publish(m)
	f.log.stats.Repaired.Add(1)
}

// next is the first message that is held behind an offset and whose place is known. The lock is
// held.
func (f *follower) next(after uint64) (arrival, bool) {
	for _, m := range f.Held() {
		if !m.unseen && m.offset > after {
			return m, true
		}
	}
	return arrival{}, false
}

// cut says whether something may have been removed before the next message that the log has, which is
// not delivered yet. A message at the place where the channel is would prove the contrary; this asks
// where there need not be one, and only if live messages may have been missed.
func (f *follower) cut(ctx context.Context, next uint64) (bool, error) {
	f.Lock()
	missing, upset, anchored := f.absence(), f.app.upset.Load(), f.track.anchored(f.origin)
	f.Unlock()
	if anchored || missing.upset == upset || next <= missing.at+1 {
		return false, nil
	}
	missing.next = next
	return f.log.mayBePurged(ctx, f.app, missing)
}

// continues says whether what is held follows an offset without a hole, whatever the log has
// removed: the first one says what came before it. That nothing did proves nothing if what
// had not been delivered may have been purged. The lock is held.
func (f *follower) continues(after uint64) bool {
	m, found := f.next(after)
	return found && m.prev <= after && (m.prev > 0 || f.sound == f.app.upset.Load())
}

// mayCome says whether what is missing behind an offset may be on its way: not if a later message
// has come before it. The lock is held.
func (f *follower) mayCome(after uint64) bool {
	_, found := f.next(after)
	return !found && f.OnItsWay()
}

// resume goes back to following: what was missing is delivered, or told. The lock is held.
func (f *follower) resume() {
	f.sound = max(f.sound, f.checked)
	f.Resume()
}

// Ask implements [follow.Line]. It reads the next message from the leader, whose answer is the
// truth, and then the one that was delivered last: the proof that none between them was removed.
func (f *follower) Ask(ctx context.Context) (func() follow.Found, error) {
	after, epoch := f.place()
	m, found, err := f.log.reader.leaderGet(ctx, f.app.stream, getRequest{Seq: after + 1, NextFor: f.subject})
	proven := !found || m.offset == after+1
	if err == nil && !proven {
		proven, err = f.proven(ctx, after, m.offset)
	}
	if err != nil {
		if errors.Is(err, errNoStream) {
			f.log.lacks(f.app)
		}
		return nil, err
	}
	return func() follow.Found {
		if f.At().Epoch != epoch || f.track.last != after {
			return follow.Turned
		}
		return f.answered(m, found && m.offset <= f.target, proven)
	}, nil
}

// proven asks the leader whether nothing was removed between the place where the channel is and the
// next message.
func (f *follower) proven(ctx context.Context, after, next uint64) (proven bool, err error) {
	f.Lock()
	anchored := f.track.anchored(f.origin)
	f.Unlock()
	if !anchored {
		cut, err := f.cut(ctx, next)
		return !cut, err
	}
	_, proven, err = f.log.reader.leaderGet(ctx, f.app.stream, getRequest{Seq: after})
	return proven, err
}

// answered takes over what the leader has next, if there is something up to the target. proven
// says that nothing was removed before it. The lock is held.
func (f *follower) answered(next stored, found, proven bool) follow.Found {
	after := f.track.last
	switch {
	case found && proven:
	case f.continues(after):
		// The log has removed since what has come.
		f.resume()
		return follow.Complete
	case (found || f.target != toTheEnd) && f.mayCome(after):
		return follow.Awaited
	case found:
		f.missing(next.offset-1, broker.GapEvicted)
	case f.target != toTheEnd:
		f.missing(f.target, broker.GapEvicted)
	}
	if found {
		f.bring(&next)
		if f.track.last < f.target {
			return follow.Turned
		}
	}
	f.resume()
	return follow.Complete
}

// GiveUp implements [follow.Line].
func (f *follower) GiveUp() {
	about := f.doubt
	f.doubt, f.page = certain, nil
	switch {
	case about != certain && f.target == toTheEnd:
		return // the log is to be read, whatever the answer
	case about == unplaced:
		// The next message shows what is missing before it.
		f.Resume()
		return
	case about == tail:
		f.Gap(f.At(), broker.GapUnavailable)
		f.believe(lost, false)
		f.Resume()
		return
	}
	if f.continues(f.track.last) {
		f.resume()
		return
	}
	target := f.target
	if target == toTheEnd {
		target = f.track.last
		// The place of the first one may be unknown: then a later one shows what is missing.
		if held := f.Held(); len(held) > 0 {
			target = held[0].prev
		}
	}
	f.missing(max(target, f.track.last), broker.GapUnavailable)
	f.resume()
}
