package redis

import (
	"maps"

	"github.com/sluicehq/sluice/broker/rank"
)

// acknowledged remembers for which channels this process said lately that an event is
// stored, so that it can find out whether a server lost it.
type acknowledged struct {
	mu        rank.Mutex[rank.RedisAcknowledged]
	positions map[place]uint64
}

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
	r.positions[p] = max(r.positions[p], offset)
}

// all returns what is remembered.
func (r *acknowledged) all() map[place]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.positions)
}

// forget forgets the channels of an app.
func (r *acknowledged) forget(app string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.positions, func(p place, _ uint64) bool { return p.app == app })
}
