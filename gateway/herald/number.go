package herald

import "time"

const (
	// smallCount is up to which every change of the number of subscriptions is
	// told, and countPause the time between two tellings above (protocol section
	// 1.11).
	smallCount = 100
	countPause = 5 * time.Second
	// overtaking is how long what a gateway told may have come behind what another
	// told later.
	overtaking = 2 * countPause
)

// number decides when a number of subscriptions is told to one kind of listener. The zero
// value has told nothing.
type number struct {
	told    time.Time
	pending bool
	count   int
	version uint64
}

// offer takes a new number and says whether to tell it now.
func (g *number) offer(n int, version uint64, now time.Time) bool {
	g.count, g.version = n, version
	if n > smallCount && now.Sub(g.told) < countPause {
		g.pending = true
		return false
	}
	g.told, g.pending = now, false
	return true
}

// learn takes a new number that another gateway tells. If one is kept back here, or was told
// a moment ago, it may be taken for the last word, so the new one is told here as well, in its
// time.
func (g *number) learn(n int, version uint64, now time.Time) {
	g.count, g.version = n, version
	g.pending = g.pending || !g.told.IsZero() && now.Sub(g.told) < overtaking
}

// due says whether a number that was kept back is to be told now.
func (g *number) due(now time.Time) bool {
	if !g.pending || now.Sub(g.told) < countPause {
		return false
	}
	g.told, g.pending = now, false
	return true
}
