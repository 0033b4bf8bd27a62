package redis

import (
	"maps"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// acknowledged remembers the newest offsets that this process lately acknowledged, by channel, so that it can
// find out whether a server lost them.
type acknowledged struct {
	mu        rank.Mutex[rank.RedisAcknowledged]
	positions map[place]noted
}

// noted is the newest acknowledged offset of a channel, and when it was acknowledged.
type noted struct {
	offset uint64
	at     time.Time
}

// placeKept is how long a channel's place certainly remains in the log: it lives for at least an hour, see
// [placeLife], less the time that slow requests take. After that its absence may be due to age and is no
// proof of a loss.
const placeKept = 50 * time.Minute

// aged reports whether a place that existed at a time may have expired since.
func aged(at time.Time) bool { return time.Since(at) > placeKept }

// maxAcknowledged bounds the number of remembered channels; beyond it an arbitrary one is forgotten.
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

// all returns the offsets that must be in the log, and forgets those that may have expired.
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
