package redis

import (
	"maps"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// acknowledged remembers for which channels this process said lately that an event is
// stored, so that it can find out whether a server lost it.
type acknowledged struct {
	mu        rank.Mutex[rank.RedisAcknowledged]
	positions map[place]noted
}

// noted is the newest offset that was acknowledged, and when.
type noted struct {
	offset uint64
	at     time.Time
}

// placeKept is for how long what the log knows of a channel is there for sure: its place lives for
// an hour at least, see [placeLife], and what is slow on the way takes a part of it. Later it may
// have aged, which is no loss.
const placeKept = 50 * time.Minute

// aged reports whether the place of a channel that was there at a time may have aged since.
func aged(at time.Time) bool { return time.Since(at) > placeKept }

// maxAcknowledged bounds the channels that are remembered; beyond it any one is
// forgotten.
const maxAcknowledged = 16384

func (r *acknowledged) note(p place, offset uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.positions) >= maxAcknowledged {
		if _, known := r.positions[p]; !known {
			for other := range r.positions {
				delete(r.positions, other)
				break
			}
		}
	}
	r.positions[p] = noted{max(r.positions[p].offset, offset), time.Now()}
}

// all returns what must be in the log, and forgets what may have aged.
func (r *acknowledged) all() map[place]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.positions, func(_ place, n noted) bool { return aged(n.at) })
	all := make(map[place]uint64, len(r.positions))
	for p, n := range r.positions {
		all[p] = n.offset
	}
	return all
}

// forget forgets the channels of an app.
func (r *acknowledged) forget(app string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.positions, func(p place, _ noted) bool { return p.app == app })
}
