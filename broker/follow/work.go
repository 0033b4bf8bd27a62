package follow

import (
	"context"
	"time"
)

// repair reads the log until nothing is missing. Repairs of different channels run concurrently, up to the
// bound of Options.Repairs.
func (f *Follower[M]) repair(first Do) {
	f.mu.Lock()
	f.Leave()
	if !f.quiet() {
		return
	}
	done, err := f.feed.opt.Repairs.Take(f.feed.opt.Context, f.App)
	if err != nil {
		return
	}
	f.work(first, done)
	// Judging the messages that were held meanwhile is not part of the repair.
	f.mu.Lock()
	f.Leave()
}

// quiet waits until no goroutine delivers notices, so that publications read from the log do not pile up in
// front of a sink that blocks. It reports false when the repair is no longer needed.
func (f *Follower[M]) quiet() bool {
	over := f.feed.opt.Context.Done()
	for {
		f.mu.Lock()
		c := &f.course
		if !c.telling || c.state != repairing {
			due := c.state == repairing
			f.mu.Unlock()
			return due && f.feed.opt.Context.Err() == nil
		}
		if c.told == nil {
			c.told = make(chan struct{})
		}
		told := c.told
		f.mu.Unlock()
		select {
		case <-over:
			return false
		case <-told:
		}
	}
}

// work runs the steps of a repair until the channel is followed again. The caller delivers the last notices
// and holds no lock. done releases the repair's place among the bounded repairs.
func (f *Follower[M]) work(first Do, done func()) {
	o := &f.feed.opt
	defer func() { done() }()
	r := NewRepair(first, o.RepairTimeout, time.Now())
	for step := (Step{Do: first}); wait(o.Context, step.After) && f.quiet(); {
		found, err := f.look(step.Do)
		if found == Turned && first == Inquire {
			f.feed.counters.Repairs.Add(1)
			first = Read
		}
		step = r.Next(found, time.Now(), o.Connected())
		if o.Context.Err() != nil {
			return
		}
		if found == Awaited {
			// A repair that waits for live messages reads nothing, so it frees its place for another repair.
			done()
			done = func() {}
			if !wait(o.Context, step.After) {
				return
			}
			again, err := o.Repairs.Take(o.Context, f.App)
			if err != nil {
				return
			}
			done, step.After = again, 0
		}
		if step.Do == GiveUp {
			f.feed.lines.Warn(o.Logger, "given up "+f.App, "repair given up", "app", f.App, "channel", f.Channel, "error", err)
			f.mu.Lock()
			f.line.GiveUp()
			if f.yield() {
				return
			}
			r, step = NewRepair(Read, o.RepairTimeout, time.Now()), Step{Do: Read}
		}
		if step.Do == End {
			return
		}
	}
}

// look does one read of the log and applies its result.
func (f *Follower[M]) look(do Do) (Found, error) {
	read := f.line.Read
	switch do {
	case Ask:
		read = f.line.Ask
	case Inquire:
		read = f.line.Inquire
	}
	over, err := read(f.feed.opt.Context)
	if err != nil {
		return Failed, err
	}
	f.mu.Lock()
	found := Complete
	if f.course.state == repairing {
		found = over()
	}
	if f.yield() {
		found = Complete
	}
	return found, nil
}

// yield releases the lock between two steps and reports whether the repair is over. If it is, another repair
// may begin at any moment, so the last notices are left for the end of this one.
func (f *Follower[M]) yield() (over bool) {
	if f.course.state != repairing {
		f.mu.Unlock()
		return true
	}
	f.Leave()
	return false
}

func wait(ctx context.Context, pause time.Duration) bool {
	if pause == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
