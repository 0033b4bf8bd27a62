package streams

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// repair reads everything up to target from the log and then goes on following.
// The lock is held. Repairs of different channels do not wait for each other,
// beyond a bound on how many run.
func (f *follower) repair(target uint64) {
	f.state = repairing
	f.target = target
	f.log.stats.repairs.Add(1)
	f.log.running.Go(func() {
		done, err := f.log.repairs.Take(f.log.ctx, f.app.opt.ID)
		if err != nil {
			return
		}
		defer done()
		f.repairRun()
	})
}

// repairRun works until the target is reached or given up.
func (f *follower) repairRun() {
	ctx := f.log.ctx
	patience := newPatience(f.log)
	wait := 5 * time.Millisecond
	for stale := 0; ; {
		f.mu.Lock()
		state, after, target, epoch := f.state, f.track.last, f.target, f.epoch
		f.mu.Unlock()
		if state != repairing {
			return
		}
		page, err := f.log.reader.page(ctx, f.app.stream, f.subject, after, pageSize)
		if err == nil && f.misses(page) {
			var what fate
			if what, err = f.log.fateOf(ctx, f.app, f.seen()); err == nil && what == lost {
				if err = f.log.refresh(ctx, f.app, epoch); err == nil {
					continue
				}
			}
		}
		if err == nil {
			var done, progress bool
			if done, progress = f.absorb(page, after, target, epoch); done {
				return
			}
			if progress {
				stale, wait = 0, 5*time.Millisecond
				patience = newPatience(f.log)
				continue
			}
			// The replica may be behind. After some tries the leader decides.
			if stale++; stale < 3 {
				err = errStale
			} else {
				err = f.askLeader(ctx, after, target, epoch)
				if err == nil {
					continue
				}
			}
		}
		if ctx.Err() != nil {
			return
		}
		if !patience.left() {
			f.log.opt.Logger.Warn("repair given up", "app", f.app.opt.ID, "after", after, "error", err)
			f.abandon(broker.GapUnavailable, target, epoch)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, 200*time.Millisecond)
	}
}

// absorb delivers a page that was read from `after` inclusive. It reports whether
// the repair is over, and whether the page brought anything new.
func (f *follower) absorb(page []stored, after, target uint64, epoch string) (done, progress bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != repairing || f.epoch != epoch || f.track.last != after {
		return f.state != repairing, true
	}
	// At the origin the channel may have no message, whose absence then proves nothing.
	anchored := after > f.origin || after > 0 && after == f.track.seen.offset
	if anchored && len(page) > 0 && page[0].offset > after {
		if f.continues(after) {
			f.resume()
			return true, true
		}
		// The message that continuity was counted from is gone, and nobody
		// knows what went with it.
		f.gap(broker.Gap{
			After:  f.here(),
			Resume: broker.Position{Epoch: epoch, Offset: page[0].offset - 1}, Reason: broker.GapEvicted,
		})
		f.track.skip(page[0].offset - 1)
		progress = true
	}
	for i := range page {
		if m := &page[i]; m.offset > f.track.last {
			m.prev = f.track.last
			f.publish(m)
			f.log.stats.repaired.Add(1)
			progress = true
		}
	}
	ended := len(page) == 0 || page[len(page)-1].pending == 0
	if f.track.last >= f.target || f.target == toTheEnd && ended && (len(page) > 0 || after == 0) {
		f.resume()
		return true, true
	}
	return false, progress
}

// continues says whether the message that follows an offset is held: then nothing is
// missing before it, whatever the log has removed. The lock is held.
func (f *follower) continues(after uint64) bool {
	return slices.ContainsFunc(f.held, func(m arrival) bool { return m.prev <= after && m.offset > after })
}

// askLeader reads the next message from the leader, whose answer is the truth.
func (f *follower) askLeader(ctx context.Context, after, target uint64, epoch string) error {
	m, found, err := f.log.reader.leaderGet(ctx, f.app.stream, getRequest{Seq: after + 1, NextFor: f.subject})
	if err != nil {
		if errors.Is(err, errNoStream) {
			f.log.trigger()
		}
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != repairing || f.epoch != epoch || f.track.last != after {
		return nil
	}
	if found && m.offset <= target {
		m.prev = after
		f.publish(&m)
		f.log.stats.repaired.Add(1)
		if f.track.last >= f.target {
			f.resume()
		}
		return nil
	}
	if target != toTheEnd {
		f.gap(broker.Gap{After: f.here(), Resume: broker.Position{Epoch: epoch, Offset: target}, Reason: broker.GapEvicted})
		f.track.skip(target)
	}
	f.resume()
	return nil
}

// abandon gives up on what is missing and goes on behind it.
func (f *follower) abandon(reason broker.GapReason, target uint64, epoch string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != repairing || f.epoch != epoch {
		return
	}
	if target == toTheEnd {
		target = f.track.last
		// The place of the first one may be unknown: then a later one shows what is missing.
		if len(f.held) > 0 {
			target = f.held[0].prev
		}
	}
	target = max(target, f.track.last)
	f.gap(broker.Gap{After: f.here(), Resume: broker.Position{Epoch: epoch, Offset: target}, Reason: reason})
	f.track.skip(target)
	f.resume()
}

// misses says whether a page that begins at the message that was seen last does not hold
// it.
func (f *follower) misses(page []stored) bool {
	seen := f.seen()
	return len(page) > 0 && seen.offset > 0 && (page[0].offset != seen.offset || !page[0].time.Equal(seen.time))
}

// seen is the message that was delivered last.
func (f *follower) seen() mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return mark{f.subject, f.track.seen.offset, f.track.seen.time}
}

// investigate finds out whether the log lost its tail. The lock is held.
func (f *follower) investigate() {
	f.state = repairing
	f.target = f.track.last
	seen, epoch := f.track.seen, f.epoch
	seen.subject = f.subject
	f.log.running.Go(func() {
		done, err := f.log.repairs.Take(f.log.ctx, f.app.opt.ID)
		if err != nil {
			return
		}
		defer done()
		f.investigateRun(seen, epoch)
	})
}

// investigateRun works until it is known what became of a message, or given up.
func (f *follower) investigateRun(seen mark, epoch string) {
	patience := newPatience(f.log)
	var err error
	for {
		ctx, cancel := context.WithTimeout(f.log.ctx, attemptStart)
		err = f.inquire(ctx, seen, epoch)
		cancel()
		if err == nil || !patience.left() {
			break
		}
		select {
		case <-f.log.ctx.Done():
			return
		case <-time.After(attemptPause):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.state != repairing || f.log.ctx.Err() != nil:
		return
	case f.target == toTheEnd:
		f.repair(toTheEnd)
		return
	case err != nil:
		f.log.opt.Logger.Warn("whether the log lost its tail could not be found out", "app", f.app.opt.ID, "after", seen.offset, "error", err)
		f.gap(broker.Gap{After: f.here(), Resume: f.here(), Reason: broker.GapUnavailable})
	}
	// What was held and lies below was delivered before; the clocks of two leaders
	// differ. What lies above follows, and retention removed what was seen.
	f.held = keepAbove(f.held, f.track.last)
	f.track.forget()
	f.resume()
}

// inquire asks what became of a message, and begins a new life of the log if it is lost.
func (f *follower) inquire(ctx context.Context, seen mark, epoch string) error {
	what, err := f.log.fateOf(ctx, f.app, seen)
	if err == nil && what == lost || errors.Is(err, errNoStream) {
		return f.log.refresh(ctx, f.app, epoch)
	}
	return err
}

func keepAbove(held []arrival, offset uint64) []arrival {
	return slices.DeleteFunc(held, func(m arrival) bool { return !m.unseen && m.offset <= offset })
}
