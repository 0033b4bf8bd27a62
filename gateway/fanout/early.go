package fanout

import (
	"sync"
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
)

const (
	// earlyEvents and earlyBytes bound the publications that wait for one channel, and allEarlyBytes those
	// that wait for all channels. One app may use half of the latter.
	earlyEvents   = 1024
	earlyBytes    = 4 << 20
	allEarlyBytes = 64 << 20
	// earlyCost is what a publication counts in addition to its data, in bytes.
	earlyCost = 512
)

// EarlyRoom bounds the publications that wait for their channels to be primed. The zero value is ready. Safe
// for concurrent use.
type EarlyRoom struct {
	full   atomic.Int64
	allows int64 // replaces allEarlyBytes in tests

	mu    sync.Mutex
	bytes int64
	// byApp has the bytes that wait for each app, by its id. An app without any is not in it, because it may
	// have been removed.
	byApp map[string]int64
}

// Bytes returns the bytes that wait for all channels.
func (r *EarlyRoom) Bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// Full counts the channels that stopped waiting because there was no room.
func (r *EarlyRoom) Full() int64 { return r.full.Load() }

// Of returns an empty list for a channel of an app.
func (r *EarlyRoom) Of(app string) Early { return Early{room: r, app: app} }

// take reserves bytes for an app, and reports false if there is no room.
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

// give releases bytes that take has reserved.
func (r *EarlyRoom) give(app string, bytes int64) {
	if bytes == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(app, -bytes)
}

// add changes the counts. The caller holds the lock.
func (r *EarlyRoom) add(app string, bytes int64) {
	if r.byApp == nil {
		r.byApp = map[string]int64{}
	}
	r.bytes += bytes
	if r.byApp[app] += bytes; r.byApp[app] == 0 {
		delete(r.byApp, app)
	}
}

// Early holds the publications of a channel that wait until the channel is primed. [EarlyRoom.Of] creates it.
// Not safe for concurrent use.
type Early struct {
	room    *EarlyRoom
	app     string
	waiting []*broker.Publication
	bytes   int64
}

// Add appends a publication. It reports false if there is no room: the channel must then continue without
// being primed.
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

// Len returns the number of publications that wait.
func (e *Early) Len() int { return len(e.waiting) }

// Reached returns the offset of the newest publication that waits, 0 if there is none.
func (e *Early) Reached() uint64 {
	if len(e.waiting) == 0 {
		return 0
	}
	return e.waiting[len(e.waiting)-1].Offset
}

// Take returns all publications, oldest first, and leaves the list empty.
func (e *Early) Take() []*broker.Publication {
	all := e.waiting
	e.room.give(e.app, e.bytes)
	e.waiting, e.bytes = nil, 0
	return all
}
