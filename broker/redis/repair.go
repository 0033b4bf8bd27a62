package redis

import (
	"context"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// repairPage and repairBytes bound the entries and bytes that a repair reads at a time. A page must arrive
// within attemptTimeout, also on a slow line.
const repairPage, repairBytes = 256, 2 << 20

// Read implements [follow.Line]. It also reads the entry at the position, which proves that none is missing.
func (f *follower) Read(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	at, life, unsure, grain := f.At(), f.life, f.unproven || aged(f.kept), 1
	if f.unproven || f.void {
		grain = 0
	}
	f.overdue(true)
	f.Unlock()
	// The place of the channel may have expired meanwhile, and one created later would look like a loss. In a
	// new epoch there may be none either.
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

// absorb applies a page that was read from a position (inclusive) in an epoch. here is the state of the
// channel before, if it was read. The caller holds the lock.
func (f *follower) absorb(r *scanned, here ground, at broker.Position, life string) follow.Found {
	switch {
	case f.At() != at || f.life != life:
		return follow.Turned
	case !f.void || f.unproven:
	case !r.exists:
		f.Resume()
		return follow.Complete
	case r.base > at.Offset:
		// The channel began since, and nothing was before.
		at.Offset = r.base
		f.Stand(r.base)
	}
	// A place created after the old one expired begins above the delivered offset. The events in between
	// expired too, and are reported as a gap of this channel.
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
		// The remaining entries were removed before they could be read.
		if found, missing := f.hole(f.At().Offset); !missing {
			return found
		}
		f.missing(r.last, broker.GapEvicted)
	}
	f.gone = false
	f.Resume()
	return follow.Complete
}

// continues reports whether the message that follows an offset is held. Then nothing is missing before it,
// whatever the log has removed. The caller holds the lock.
func (f *follower) continues(last uint64) bool {
	return slices.ContainsFunc(f.Held(), func(a arrival) bool { return a.prev == last && a.offset > last })
}

// resume returns to following with the held messages, whatever the log has. The caller holds the lock.
func (f *follower) resume() {
	f.overdue(false)
	f.Resume()
}

// hole reports whether events after an offset that the log no longer has are missing, and otherwise what the
// repair found. They may be held or on their way as live messages; a later held message proves that they are
// not. The caller holds the lock.
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

// Inquire implements [follow.Line]. A delivered event is no longer in the log, so Inquire begins a new epoch.
func (f *follower) Inquire(ctx context.Context) (func() follow.Found, error) {
	f.Lock()
	epoch := f.At().Epoch
	f.Unlock()
	if err := f.log.lostPart(ctx, f.app, epoch); err != nil {
		return nil, err
	}
	return func() follow.Found { return follow.Turned }, nil
}

// Ask implements [follow.Line]. There is only one copy of the log to read, so it is the same as Read.
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
	f.resume() // it is not known what the log has
}

// overdue marks the held messages. The caller holds the lock.
func (f *follower) overdue(yes bool) {
	held := f.Held()
	for i := range held {
		held[i].overdue = yes
	}
}
