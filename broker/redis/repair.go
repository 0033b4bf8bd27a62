package redis

import (
	"slices"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// repair reads everything after the last publication from the log and then goes on
// following. The lock is held. Repairs of different channels do not wait for each
// other, beyond a bound on how many run.
func (f *follower) repair() {
	f.state = repairing
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

// repairPage is how many entries a repair reads at a time.
const repairPage = 256

// repairRun works until the end of the log is reached or it cannot be read any more.
func (f *follower) repairRun() {
	giveUp := time.Now().Add(f.log.opt.RepairTimeout)
	wait := 5 * time.Millisecond
	for {
		f.mu.Lock()
		state, after, epoch, unproven := f.state, f.last, f.epoch, f.unproven
		f.overdue(true)
		f.mu.Unlock()
		if state != repairing {
			return
		}
		// The entry before is read as well: it is the proof that none is missing.
		r, err := f.look(after, unproven)
		if err == nil && !unproven && r.lost(after) {
			// What was delivered is not in the log any more.
			if err = f.log.lostPart(f.log.ctx, f.app, epoch); err == nil {
				continue
			}
		}
		if err == nil {
			if f.absorb(r, after, epoch) {
				return
			}
			giveUp, wait = time.Now().Add(f.log.opt.RepairTimeout), 5*time.Millisecond
			continue
		}
		if f.log.ctx.Err() != nil {
			return
		}
		if time.Now().After(giveUp) {
			f.log.opt.Logger.Warn("repair given up", "app", f.app.opt.ID, "after", after, "error", err)
			f.abandon(epoch)
			return
		}
		select {
		case <-f.log.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, 200*time.Millisecond)
	}
}

// look reads a page. In a new life the channel may have no place yet; one that was made
// later would look like another loss.
func (f *follower) look(after uint64, unproven bool) (*scanned, error) {
	if unproven {
		if _, _, err := f.touch(f.log.ctx); err != nil {
			return nil, unavailable("reading", err)
		}
	}
	return f.log.scan(f.log.ctx, f.keys, scanQuery{from: after, most: repairPage})
}

// absorb delivers a page that was read from `after` inclusive, and reports whether the
// repair is over.
func (f *follower) absorb(r *scanned, after uint64, epoch string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != repairing || f.epoch != epoch || f.last != after {
		return f.state != repairing
	}
	if f.unproven {
		f.unproven = false
		// What was lost has been told. A channel that was made anew begins at its base.
		f.last = max(min(f.last, r.last), r.base)
	}
	for _, a := range r.entries {
		if a.offset <= f.last {
			continue
		}
		if a.prev > f.last {
			if f.continues() {
				f.overdue(false)
				f.resume()
				return true
			}
			f.gap(broker.Position{Epoch: epoch, Offset: a.prev}, broker.GapEvicted)
		}
		f.deliver(a)
		f.log.stats.repaired.Add(1)
	}
	if len(r.entries) == repairPage {
		return false
	}
	if r.last > f.last {
		// The rest was removed before it could be read.
		f.gap(broker.Position{Epoch: epoch, Offset: r.last}, broker.GapEvicted)
	}
	f.resume()
	return true
}

// continues says whether the message that follows the last one is held: then nothing is
// missing before it, whatever the log has removed. The lock is held.
func (f *follower) continues() bool {
	return slices.ContainsFunc(f.held, func(a arrival) bool { return a.prev == f.last && a.offset > f.last })
}

// abandon gives up on what is missing and goes on behind it.
func (f *follower) abandon(epoch string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != repairing || f.epoch != epoch {
		return
	}
	resume := f.last
	if len(f.held) > 0 {
		resume = max(resume, f.held[0].prev)
	}
	f.gap(broker.Position{Epoch: epoch, Offset: resume}, broker.GapUnavailable)
	f.overdue(false) // nobody knows what the log has
	f.resume()
}

// overdue marks what is held. The lock is held.
func (f *follower) overdue(yes bool) {
	for i := range f.held {
		f.held[i].overdue = yes
	}
}
