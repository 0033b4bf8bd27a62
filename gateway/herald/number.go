package herald

import "time"

const (
	// smallCount is the subscription count up to which every change is reported, and countPause the time between
	// two reports above it (protocol section 1.11).
	smallCount = 100
	countPause = 5 * time.Second
	// overtaking is how long a count of one gateway may arrive after a later count of another.
	overtaking = 2 * countPause
)

// number decides when a subscription count is reported to one kind of recipient. The zero value has reported
// nothing.
type number struct {
	told    time.Time
	pending bool
	count   int
	version uint64
}

// offer takes a new count and reports whether to report it now.
func (g *number) offer(n int, version uint64, now time.Time) bool {
	g.count, g.version = n, version
	if n > smallCount && now.Sub(g.told) < countPause {
		g.pending = true
		return false
	}
	g.told, g.pending = now, false
	return true
}

// learn takes a new count that another gateway reports. If a count is pending here, or was reported a moment
// ago, that one may arrive last and seem current, so the new count is reported here as well, later.
func (g *number) learn(n int, version uint64, now time.Time) {
	g.count, g.version = n, version
	g.pending = g.pending || !g.told.IsZero() && now.Sub(g.told) < overtaking
}

// due reports whether a pending count is to be reported now.
func (g *number) due(now time.Time) bool {
	if !g.pending || now.Sub(g.told) < countPause {
		return false
	}
	g.told, g.pending = now, false
	return true
}
