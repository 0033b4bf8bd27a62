package presence

import "time"

// countRest is the least time between two writes of a number of subscriptions while the channel has some.
// Thousands may subscribe in a second, and the number would be written as often as the table answers. The
// first and the last subscription are written at once.
const countRest = 100 * time.Millisecond

// resting is a seat that was written a moment ago.
type resting struct {
	seat  *ownSeat
	until time.Time
}

// counts reports whether a seat is the number of subscriptions in a channel. The number of an app's
// connections does not rest, because connections wait until it is written.
func (s seat) counts() bool { return s.user == "" && s.channel != "" }

// rests reports whether the wanted state of a seat is written later. The caller holds the lock of the seat.
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

// rouse ends the rest of the seats whose rest is over at now, and has them written if they have changed. It
// returns the end of the next rest, zero if none rests. The caller holds ownMu.
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

// rousing is the goroutine that ends the rest of seats.
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
