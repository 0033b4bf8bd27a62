package presence

import "time"

// countRest is how long a number of subscriptions stays in the table as it was written, while the channel goes on
// having some. Thousands may come to a channel in a second, and it would be written as often as the table answers;
// others want to know what it has become. The first subscription and the last one wait for nothing.
const countRest = 100 * time.Millisecond

// resting is a seat that was written a moment ago.
type resting struct {
	seat  *ownSeat
	until time.Time
}

// counts says whether it is the number of subscriptions in a channel. That of an app's connections is another
// thing: some of them wait until it is written.
func (s seat) counts() bool { return s.user == "" && s.channel != "" }

// rests says whether what is wanted of the seat is written later. The caller holds its lock.
func (c *ownSeat) rests() bool {
	return c.resting && c.stored != nil && c.wanted != nil && !c.again && !c.lost
}

// rest notes that a seat was written just now. The caller holds both locks.
func (r *Roster) rest(c *ownSeat) {
	if c.resting || !c.seat.counts() || c.stored == nil {
		return
	}
	c.resting = true
	r.rested = append(r.rested, resting{c, time.Now().Add(countRest)})
	if len(r.rested) == 1 {
		select {
		case r.tired <- struct{}{}:
		default:
		}
	}
}

// rouse has written what changed while it rested, of seats that have rested until then. It returns the
// moment of the next one. The caller holds the lock of all.
func (r *Roster) rouse(now time.Time) (next time.Time) {
	for len(r.rested) > 0 {
		if r.rested[0].until.After(now) {
			return r.rested[0].until
		}
		c := r.rested[0].seat
		r.rested[0] = resting{}
		r.rested = r.rested[1:]
		c.mu.Lock()
		if c.resting = false; c.wanted != c.stored {
			r.enqueue(c)
		}
		c.mu.Unlock()
	}
	r.rested = nil
	return time.Time{}
}

// rousing is the goroutine that looks after seats that rest.
func (r *Roster) rousing() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		case <-r.tired:
		}
		r.ownMu.Lock()
		next := r.rouse(time.Now())
		r.ownMu.Unlock()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}
