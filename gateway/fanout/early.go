package fanout

import (
	"sync"
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
)

const (
	// earlyEvents and earlyBytes bound the publications that wait for one channel, and allEarlyBytes
	// those that wait for all channels, of which one app may have half.
	earlyEvents   = 1024
	earlyBytes    = 4 << 20
	allEarlyBytes = 64 << 20
	// earlyCost is what a publication counts beside its data.
	earlyCost = 512
)

// EarlyRoom bounds the publications that wait for their channels. The zero value is ready. All methods
// may be called from any goroutine.
type EarlyRoom struct {
	full   atomic.Int64
	allows int64 // in place of allEarlyBytes, for tests

	mu    sync.Mutex
	bytes int64
	// byApp is what waits of an app, by its id. An app of which nothing waits is not there: it may have
	// been removed.
	byApp map[string]int64
}

// Bytes is what waits for all channels.
func (r *EarlyRoom) Bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// Full counts the channels that did not wait any longer because there was no room.
func (r *EarlyRoom) Full() int64 { return r.full.Load() }

// Of returns an empty list for a channel of an app.
func (r *EarlyRoom) Of(app string) Early { return Early{room: r, app: app} }

// take gives so many bytes to an app, and reports false if there is no room.
func (r *EarlyRoom) take(app string, bytes int64) bool {
	most := r.allows
	if most == 0 {
		most = allEarlyBytes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes+bytes > most || r.byApp[app]+bytes > most/2 {
		return false
	}
	r.add(app, bytes)
	return true
}

// give takes back what an app was given.
func (r *EarlyRoom) give(app string, bytes int64) {
	if bytes == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(app, -bytes)
}

// add counts. The caller holds the lock.
func (r *EarlyRoom) add(app string, bytes int64) {
	if r.byApp == nil {
		r.byApp = map[string]int64{}
	}
	r.bytes += bytes
	if r.byApp[app] += bytes; r.byApp[app] == 0 {
		delete(r.byApp, app)
	}
}

// Early are the publications of a channel that wait until it is known what they are counted from. Make it
// with [EarlyRoom.Of]. It is for one goroutine at a time.
type Early struct {
	room    *EarlyRoom
	app     string
	waiting []*broker.Publication
	bytes   int64
}

// Add has a publication wait behind the others. It reports false if there is no room: then the channel
// must go on without what it waits for.
func (e *Early) Add(p *broker.Publication) bool {
	bytes := int64(p.Bytes() + earlyCost)
	if len(e.waiting) >= earlyEvents || e.bytes+bytes > earlyBytes || !e.room.take(e.app, bytes) {
		e.room.full.Add(1)
		return false
	}
	e.waiting = append(e.waiting, p)
	e.bytes += bytes
	return true
}

// Len is the number of those that wait.
func (e *Early) Len() int { return len(e.waiting) }

// Reached is the place of the newest one, 0 for none.
func (e *Early) Reached() uint64 {
	if len(e.waiting) == 0 {
		return 0
	}
	return e.waiting[len(e.waiting)-1].Offset
}

// Take returns all of them, oldest first, and leaves nothing.
func (e *Early) Take() []*broker.Publication {
	all := e.waiting
	e.room.give(e.app, e.bytes)
	e.waiting, e.bytes = nil, 0
	return all
}
