package turns

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// How long a connection that is to come back stays at least, and by how much more at most. It differs from
// one connection to the next, so that those which were refused together do not come back together.
const (
	anewAfter  = 2 * time.Second
	anewSpread = 8 * time.Second
)

// Anew is when a connection ends so that its client comes back and asks again for what it was refused for the moment. The
// zero value is never. All methods may be called at the same time.
type Anew struct {
	// at is in Unix nanoseconds. 0 is not yet, below that is never.
	at atomic.Int64
}

// Soon has the connection end 2 to 10 seconds after now, if that has not been said already.
func (a *Anew) Soon(now time.Time) {
	a.at.CompareAndSwap(0, now.Add(anewAfter+rand.N(anewSpread)).UnixNano())
}

// Never is for a client that asks again by itself on the same connection.
func (a *Anew) Never() { a.at.Store(-1) }

// Due tells whether the connection is to end now.
func (a *Anew) Due(now time.Time) bool {
	at := a.at.Load()
	return at > 0 && now.UnixNano() >= at
}
