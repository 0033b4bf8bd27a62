package follow

import (
	"context"
	"time"
)

// repair reads the log until nothing is missing. Repairs of different channels do not wait for
// each other, beyond a bound on how many run.
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
	// What was held meanwhile is no part of the repair.
	f.mu.Lock()
	f.Leave()
}

// quiet waits until nobody is telling, so that what is read does not pile up before sinks that
// take nothing. It reports false when there is nothing to repair any more.
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

// work goes from step to step until the channel is followed again. What it gives last is told
// by the caller.
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
			// Who waits for live messages reads nothing, and keeps nobody from reading.
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

// look takes one look at the log, and takes over what it shows.
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

// yield gives the lock back between two steps. It says whether the repair is over; then somebody
// else may begin another one at any moment, and what is to be told is left to the end.
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
