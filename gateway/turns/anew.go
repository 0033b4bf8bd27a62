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

// anewMost is the number of refused names that are remembered. Of a client that had more, the connection ends
// whatever it is served later.
const anewMost = 64

// Anew says when a connection is closed so that its client reconnects and repeats what was refused for a
// moment only. The zero value means never. One goroutine calls Soon, Served and Never; Due is safe for concurrent
// use.
type Anew struct {
	// at is in Unix nanoseconds. 0 means not yet, a negative number never.
	at atomic.Int64
	// refused has the names that were refused and not served since.
	refused map[string]struct{}
}

// Soon makes the connection end 2 to 10 seconds after now, because name was refused for a moment, unless an
// earlier call of Soon or Never decided that. The name may be empty for something that is not served by a name.
func (a *Anew) Soon(now time.Time, name string) {
	if a.at.Load() < 0 {
		return
	}
	if a.refused == nil {
		a.refused = map[string]struct{}{}
	}
	if len(a.refused) >= anewMost {
		name = ""
	}
	a.refused[name] = struct{}{}
	a.at.CompareAndSwap(0, now.Add(anewAfter+rand.N(anewSpread)).UnixNano())
}

// Served notes that the client has asked for a name again and got it. If nothing else was refused, the connection
// stays.
func (a *Anew) Served(name string) {
	if a.refused == nil {
		return
	}
	if delete(a.refused, name); len(a.refused) == 0 {
		a.refused = nil
		if at := a.at.Load(); at > 0 {
			a.at.Store(0)
		}
	}
}

// Never is for a client that repeats its request by itself on the same connection.
func (a *Anew) Never() { a.at.Store(-1) }

// Due reports whether the connection is to end now.
func (a *Anew) Due(now time.Time) bool {
	at := a.at.Load()
	return at > 0 && now.UnixNano() >= at
}
