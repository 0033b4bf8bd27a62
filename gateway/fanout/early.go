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
	bytes  atomic.Int64
	full   atomic.Int64
	byApp  sync.Map // of *atomic.Int64, by the id of the app
	allows int64    // in place of allEarlyBytes, for tests
}

// Bytes is what waits for all channels.
func (r *EarlyRoom) Bytes() int64 { return r.bytes.Load() }

// Full counts the channels that did not wait any longer because there was no room.
func (r *EarlyRoom) Full() int64 { return r.full.Load() }

// Of returns an empty list for a channel of an app.
func (r *EarlyRoom) Of(app string) Early {
	held, _ := r.byApp.LoadOrStore(app, new(atomic.Int64))
	return Early{room: r, app: held.(*atomic.Int64)}
}

// take gives so many bytes to an app, and reports false if there is no room.
func (r *EarlyRoom) take(app *atomic.Int64, bytes int64) bool {
	most := r.allows
	if most == 0 {
		most = allEarlyBytes
	}
	if r.bytes.Add(bytes) > most {
		r.bytes.Add(-bytes)
		return false
	}
	if app.Add(bytes) > most/2 {
		r.give(app, bytes)
		return false
	}
	return true
}

func (r *EarlyRoom) give(app *atomic.Int64, bytes int64) {
	app.Add(-bytes)
	r.bytes.Add(-bytes)
}

// Early are the publications of a channel that wait until it is known what they are counted from. Make it
// with [EarlyRoom.Of]. It is for one goroutine at a time.
type Early struct {
	room    *EarlyRoom
	app     *atomic.Int64
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
