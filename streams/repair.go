package streams

import (
	"context"
	"errors"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// page is a part of the log that was read from the offset after, inclusive, in one epoch.
type page struct {
	messages []stored
	after    uint64
	epoch    string
	// cut says that messages before the first one may have been removed.
	cut bool
}

// repair reads everything up to target from the log and then continues to follow. The caller holds the lock.
func (f *follower) repair(target uint64) {
	f.target = target
	f.checked = f.app.upset.Load()
	f.Repair(follow.Read)
}

// inquire asks the leader a question before anything later is delivered. The caller holds the lock.
func (f *follower) inquire(about doubt) {
	f.target, f.doubt, f.checked = f.track.last, about, f.app.upset.Load()
	f.Repair(follow.Inquire)
}

// place returns the offset of the last delivered message, and its epoch.
func (f *follower) place() (after uint64, epoch string) {
	f.Lock()
	defer f.Unlock()
	return f.track.last, f.At().Epoch
}

// Read implements [follow.Line]. It reads the last delivered message again, as proof that no message after it is missing.
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

// blind reports whether a wrong answer of a replica could not be detected, as after the beginning of an epoch. Nothing
// was delivered yet that would contradict a replica whose offsets differ from the leader's, and the contradiction would
// come later and begin another epoch.
func (f *follower) blind() bool {
	f.Lock()
	defer f.Unlock()
	return f.target == toTheEnd && !f.track.anchored(f.origin) && f.app.copies.Load() > 1
}

// absorb delivers the messages of the page. The caller holds the lock.
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
		// The last delivered message is gone from the log. It is unknown which later ones were removed with it.
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

// bring delivers a message that was read from the log. The caller holds the lock.
func (f *follower) bring(m *stored) {
	m.prev = f.track.last
	f.publish(m)
	f.log.stats.Repaired.Add(1)
}

// next returns the first held message after an offset whose place is known. The caller holds the lock.
func (f *follower) next(after uint64) (arrival, bool) {
	for _, m := range f.Held() {
		if !m.unseen && m.offset > after {
			return m, true
		}
	}
	return arrival{}, false
}

// cut reports whether messages before next, the next message in the log, may have been removed without having been
// delivered. The last delivered message, if it is still in the log, proves that none were. So the stream is asked only
// if there need not be such a message, and only if live messages may have been missed.
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

// continues reports whether the held messages follow the offset without a hole, whatever the log has removed: the first
// one names its predecessor. If it names none, that proves nothing while undelivered messages may have been purged. The
// caller holds the lock.
func (f *follower) continues(after uint64) bool {
	m, found := f.next(after)
	return found && m.prev <= after && (m.prev > 0 || f.sound == f.app.upset.Load())
}

// mayCome reports whether messages that are missing after an offset may still arrive live. They cannot if a later message
// has already arrived. The caller holds the lock.
func (f *follower) mayCome(after uint64) bool {
	_, found := f.next(after)
	return !found && f.OnItsWay()
}

// resume continues to follow, after missing messages were delivered or reported as a gap. The caller holds the lock.
func (f *follower) resume() {
	f.sound = max(f.sound, f.checked)
	f.Resume()
}

// Ask implements [follow.Line]. It reads the next message from the leader, whose answer is authoritative. Then it reads
// the last delivered message, as proof that no message between the two was removed.
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

// proven asks the leader whether it is certain that nothing was removed between the last delivered message and the next
// one.
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

// answered delivers next, the next message of the leader, if found says that there is one up to the target. proven says
// that nothing was removed before it. The caller holds the lock.
func (f *follower) answered(next stored, found, proven bool) follow.Found {
	after := f.track.last
	switch {
	case found && proven:
	case f.continues(after):
		// The log has removed messages that have arrived here.
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
		return // the log must be read, whatever the answer
	case about == unplaced:
		// The next message will show whether any are missing before it.
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
		// If the place of the first held message is unknown, a later one shows what is missing.
		if held := f.Held(); len(held) > 0 {
			target = held[0].prev
		}
	}
	f.missing(max(target, f.track.last), broker.GapUnavailable)
	f.resume()
}
