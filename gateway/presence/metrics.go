package presence

import (
	"sync"
	"sync/atomic"
)

// counters are the numbers of a roster.
type counters struct {
	writes, failures, burials, revivals, cleared, unclaimed atomic.Uint64
	// members are the users in the rooms of each app; one without any is not in it.
	membersMu sync.Mutex
	members   map[string]int
}

// member notes that a user came to a room of an app here (1), or left it (-1).
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

// LocalMembers is how many users are in the rooms of an app by connections of this gateway,
// each counted once for each room.
func (r *Roster) LocalMembers(app string) int {
	r.metrics.membersMu.Lock()
	defer r.metrics.membersMu.Unlock()
	return r.metrics.members[app]
}

// Stats are the numbers of a roster since it was made.
type Stats struct {
	// Writes of seats, Failures of the table, Burials of other gateways by this
	// one, Revivals of this one after it was buried itself, and how often it has
	// Cleared away what it gave up.
	Writes, Failures, Burials, Revivals, Cleared uint64
	// Unclaimed is how often an app claimed more than is written, see [ErrManyClaims].
	Unclaimed uint64
	// Seats are those that this gateway holds, Waiting those of them that wait
	// to be written, Rooms the channels that it follows.
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
