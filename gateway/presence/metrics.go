package presence

import (
	"sync"
	"sync/atomic"
)

// counters are the metrics of a roster.
type counters struct {
	writes, failures, burials, revivals, cleared, unclaimed atomic.Uint64
	// members are the numbers of users in the rooms of each app; an app without any is not in it.
	membersMu sync.Mutex
	members   map[string]int
}

// member notes that a user joined a room of an app on this gateway (1), or left it (-1).
func (c *counters) member(app string, change int) {
	c.membersMu.Lock()
	defer c.membersMu.Unlock()
	if c.members == nil {
		c.members = map[string]int{}
	}
	if c.members[app] += change; c.members[app] == 0 {
		delete(c.members, app)
	}
}

// LocalMembers returns how many users are in the rooms of an app by connections of this gateway, each counted
// once for each room.
func (r *Roster) LocalMembers(app string) int {
	r.metrics.membersMu.Lock()
	defer r.metrics.membersMu.Unlock()
	return r.metrics.members[app]
}

// Stats are the numbers of a roster since it was created.
type Stats struct {
	// Writes counts writes of seats, Failures those of the table, Burials other gateways that this one
	// buried, Revivals how often this gateway came back after it was buried, and Cleared how often it removed
	// the records of seats that it gave up.
	Writes, Failures, Burials, Revivals, Cleared uint64
	// Unclaimed is how often an app claimed more than is written, see [ErrManyClaims].
	Unclaimed uint64
	// Seats is the number of seats of this gateway, Waiting how many of them wait to be written, Rooms the
	// number of channels that it follows.
	Seats, Waiting, Rooms int
}

// Stats returns the numbers.
func (r *Roster) Stats() Stats {
	s := Stats{
		Writes: r.metrics.writes.Load(), Failures: r.metrics.failures.Load(),
		Burials: r.metrics.burials.Load(), Revivals: r.metrics.revivals.Load(),
		Cleared: r.metrics.cleared.Load(), Unclaimed: r.metrics.unclaimed.Load(),
	}
	r.mu.Lock()
	s.Rooms = len(r.rooms)
	r.mu.Unlock()
	r.ownMu.Lock()
	s.Seats, s.Waiting = len(r.own), len(r.dirty)
	r.ownMu.Unlock()
	return s
}
