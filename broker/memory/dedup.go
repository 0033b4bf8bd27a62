package memory

import (
	"crypto/sha256"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// dedupKey stands for a DedupID. A hash has a fixed size, so that the bound of
// entries is a bound of bytes; a cryptographic one, because the ids are chosen
// by publishers and a collision would swallow somebody's event.
type dedupKey [16]byte

func newDedupKey(id string) dedupKey {
	sum := sha256.Sum256([]byte(id))
	return dedupKey(sum[:16])
}

type dedupRecord struct {
	key  dedupKey
	time time.Time
}

// dedup remembers which ids were stored lately, and where.
type dedup struct {
	window time.Duration
	max    int
	at     map[dedupKey]broker.Position
	order  ring[dedupRecord]
}

func newDedup(window time.Duration, max int) dedup {
	return dedup{window: window, max: max, at: make(map[dedupKey]broker.Position)}
}

// expire forgets what left the window.
func (d *dedup) expire(now time.Time) {
	for d.order.len() > 0 && now.Sub(d.order.at(0).time) > d.window {
		delete(d.at, d.order.pop().key)
	}
}

func (d *dedup) lookup(k dedupKey) (broker.Position, bool) {
	p, ok := d.at[k]
	return p, ok
}

// add remembers a key that is not known. It returns true if an older one had
// to be forgotten before its time.
func (d *dedup) add(k dedupKey, now time.Time, at broker.Position) (early bool) {
	if d.order.len() >= d.max {
		delete(d.at, d.order.pop().key)
		early = true
	}
	d.order.push(dedupRecord{k, now})
	d.at[k] = at
	return early
}
