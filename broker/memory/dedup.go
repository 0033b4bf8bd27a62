package memory

import (
	"crypto/sha256"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// dedupKey is a hash of a DedupID. Its fixed size makes the bound of entries a bound of bytes. The hash is
// cryptographic because publishers choose the ids, and a collision would suppress another publisher's event.
type dedupKey [16]byte

func newDedupKey(id string) dedupKey {
	sum := sha256.Sum256([]byte(id))
	return dedupKey(sum[:16])
}

type dedupRecord struct {
	key  dedupKey
	time time.Time
}

// dedup remembers the ids that were stored lately and their positions.
type dedup struct {
	window time.Duration
	max    int
	at     map[dedupKey]broker.Position
	order  ring[dedupRecord]
}

func newDedup(window time.Duration, max int) dedup {
	return dedup{window: window, max: max, at: make(map[dedupKey]broker.Position)}
}

// expire forgets the ids that left the window.
func (d *dedup) expire(now time.Time) {
	for d.order.len() > 0 && now.Sub(d.order.at(0).time) > d.window {
		delete(d.at, d.order.pop().key)
	}
}

func (d *dedup) lookup(k dedupKey) (broker.Position, bool) {
	p, ok := d.at[k]
	return p, ok
}

// add remembers a key that is not known yet. It returns true if that pushed out an older key early.
func (d *dedup) add(k dedupKey, now time.Time, at broker.Position) (early bool) {
	if d.order.len() >= d.max {
		delete(d.at, d.order.pop().key)
		early = true
	}
	d.order.push(dedupRecord{k, now})
	d.at[k] = at
	return early
}
