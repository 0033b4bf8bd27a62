package redis

import (
	"context"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// repairPage and repairBytes are how many entries and bytes a repair reads at a time. A page must
// come within the time for one try, also on a slow line.
const repairPage, repairBytes = 256, 2 << 20

// Read implements [follow.Line]. The entry before is read as well: it is the proof that none
// is missing.
func (f *follower) Read(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	at, life, unsure, grain := f.At(), f.life, f.unproven || aged(f.kept), 1
	if f.unproven || f.void {
		grain = 0
	}
	f.overdue(true)
	f.Unlock()
	// After an age the channel may have no place; one that was made later would look like a loss. In a
	// new life it may have none either.
	var here ground
	if unsure {
		var err error
		if here, err = f.touch(ctx, grain); err != nil {
			return nil, unavailable("reading", err)
		}
	}
	r, err := f.log.scan(ctx, f.keys, scanQuery{from: at.Offset, most: repairPage, bytes: repairBytes})
	if err != nil {
		return nil, err
	}
	return func() follow.Found { return f.absorb(r, here, at, life) }, nil
}

// absorb takes over a page that was read from a position inclusive, in a life. here is what was known of the
// channel before, if that was looked at. The lock is held.
func (f *follower) absorb(r *scanned, here ground, at broker.Position, life string) follow.Found {
	switch {
	case f.At() != at || f.life != life:
		return follow.Turned
	case !f.void || f.unproven:
	case !r.exists:
		f.Resume()
		return follow.Complete
	case r.base > at.Offset:
		// It has begun since. Nothing was before that.
		at.Offset = r.base
		f.Stand(r.base)
	}
	// A place that was made anew since the other one aged begins above what was delivered. What
	// lies between aged as well, and is told as a gap of this channel.
	if !f.unproven && r.lost(at.Offset) && !(f.gone && r.exists && r.base > at.Offset) {
		return follow.Doubtful
	}
	if f.unproven {
		f.unproven, f.void = false, !r.exists || r.last == r.base
		if r.exists {
			place := r.placeOf(at.Offset)
			f.goOver(place, r.base, r.messages == 0 || r.oldest.offset > place)
		} else {
			f.goOver(here.void, here.void, true)
		}
	}
	for _, a := range r.entries {
		last := f.At().Offset
		if a.offset <= last {
			continue
		}
		if a.prev > last {
			if found, missing := f.hole(last); !missing {
				return found
			}
			f.missing(a.prev, broker.GapEvicted)
		}
		f.deliver(a)
		f.log.stats.Repaired.Add(1)
	}
	if r.cut || len(r.entries) == repairPage {
		return follow.Progress
	}
	if r.last > f.At().Offset {
		// The rest was removed before it could be read.
		if found, missing := f.hole(f.At().Offset); !missing {
			return found
		}
		f.missing(r.last, broker.GapEvicted)
	}
	f.gone = false
	f.Resume()
	return follow.Complete
}

// continues says whether the message that follows an offset is held: then nothing is missing
// before it, whatever the log has removed. The lock is held.
func (f *follower) continues(last uint64) bool {
	return slices.ContainsFunc(f.Held(), func(a arrival) bool { return a.prev == last && a.offset > last })
}

// resume goes back to following with what is held, whatever the log has. The lock is held.
func (f *follower) resume() {
	f.overdue(false)
	f.Resume()
}

// hole says whether what the log does not have any more behind an offset is missing, and what a
// repair found if it is not. It may be held or on its way; that it is neither is known when a
// later message has come. The lock is held.
func (f *follower) hole(last uint64) (found follow.Found, missing bool) {
	switch {
	case f.continues(last):
		f.resume()
		return follow.Complete, false
	case !slices.ContainsFunc(f.Held(), func(a arrival) bool { return a.offset > last }) && f.OnItsWay():
		return follow.Awaited, false
	}
	return follow.Progress, true
}

// Inquire implements [follow.Line]. What was delivered is not in the log any more, so a new
// life of it begins.
func (f *follower) Inquire(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	epoch := f.At().Epoch
	f.Unlock()
	if err := f.log.lostPart(ctx, f.app, epoch); err != nil {
		return nil, err
	}
	return func() follow.Found { return follow.Turned }, nil
}

// Ask implements [follow.Line]. There is one log, and it is never behind.
func (f *follower) Ask(ctx context.Context) (func() follow.Found, error) { return f.Read(ctx) }

// GiveUp implements [follow.Line].
func (f *follower) GiveUp() {
	if f.unproven && f.At().Epoch != f.life {
		f.goOver(f.At().Offset, 0, false)
	}
	resume := f.At().Offset
	if f.continues(resume) && !f.unproven {
		f.resume()
		return
	}
	if held := f.Held(); len(held) > 0 {
		resume = max(resume, held[0].prev)
	}
	f.missing(resume, broker.GapUnavailable)
	f.resume() // nobody knows what the log has
}

// overdue marks what is held. The lock is held.
func (f *follower) overdue(yes bool) {
	held := f.Held()
	for i := range held {
		held[i].overdue = yes
	}
}
