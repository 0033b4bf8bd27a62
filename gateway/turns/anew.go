package turns

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// anewAfter is the least time before a connection ends, and anewSpread how much is added at most. The sum is
// random, so that clients that were refused together do not reconnect together.
const (
	anewAfter  = 2 * time.Second
	anewSpread = 8 * time.Second
)

// Anew says when a connection is closed so that its client reconnects and repeats what was refused for a
// moment only. The zero value means never. Safe for concurrent use.
type Anew struct {
	// at is in Unix nanoseconds. 0 means not yet, a negative number never.
	at atomic.Int64
}

// Soon makes the connection end 2 to 10 seconds after now, unless an earlier call of Soon or Never decided
// that.
func (a *Anew) Soon(now time.Time) {
	a.at.CompareAndSwap(0, now.Add(anewAfter+rand.N(anewSpread)).UnixNano())
}

// Never is for a client that repeats its request by itself on the same connection.
func (a *Anew) Never() { a.at.Store(-1) }

// Due reports whether the connection is to end now.
func (a *Anew) Due(now time.Time) bool {
	at := a.at.Load()
	return at > 0 && now.UnixNano() >= at
}
