package fanout

import (
	"time"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/count"
)

// MaxBaseBytes bounds the bases of one channel, in bytes.
const MaxBaseBytes = 8 << 20

// Bases are the publications of one channel from which deltas can start. They belong to the owner of the
// channel.
type Bases struct {
	line *Line
	// rules are the rules under which the bases were made.
	rules *Rules
	// by is by mode. The bases of keyed mode exist only if the channel has a conflation path, and none exist
	// if the channel has no delta compression.
	by [modes]*delta.Bases[*texts]
	// salt is that of the epoch, number that of the last base.
	salt   uint64
	number uint32
	// keys and bytes are what these bases have added to the totals of the hall.
	keys, bytes int
}

// NewBases returns empty bases under the present rules of a line. [Bases.Begin] must be called before Track.
func NewBases(l *Line) Bases {
	rules := l.Rules()
	b := Bases{line: l, rules: rules}
	if !rules.Delta.Enabled {
		return b
	}
	limits := delta.Limits{
		Keys: 1, Bytes: MaxBaseBytes, Age: time.Duration(rules.Delta.MaxAgeSeconds) * time.Second, Older: olderBases,
	}
	b.by[SingleBase] = delta.NewBases[*texts](limits)
	if rules.Keyed {
		limits.Keys = max(rules.Delta.MaxKeys, 1)
		b.by[KeyedBases] = delta.NewBases[*texts](limits)
	}
	return b
}

// Begin begins a new epoch of the log, in which no earlier base or number is valid.
func (b *Bases) Begin(epoch string) {
	b.salt = b.rules.Salt(b.line, epoch)
	b.line.salt.Store(delta.Number(0, b.salt))
	b.number = 0
	b.reset()
}

// reset makes the next tracked frame of every conflation value full.
func (b *Bases) reset() {
	for _, m := range b.by {
		if m != nil {
			m.Reset()
		}
	}
}

// Track makes a publication a base if it takes part in delta compression. full says that the count requires a
// full frame.
func (b *Bases) Track(p *Event, part count.Part, full bool) {
	if part == count.Poisoned {
		b.reset()
	}
	if part != count.Tracked {
		return
	}
	p.Tracked = true
	p.number = delta.Number(p.Pub.Offset, b.salt)
	if p.number < b.number {
		b.reset()
	}
	b.number = p.number
	b.put(p, full)
}

// put sets from which bases deltas of a tracked publication may start, and makes it the newest base.
func (b *Bases) put(p *Event, full bool) {
	size := 2*(p.bytes+p.escapes) + 512 // the texts of V1 and V2
	if b.line.Hall.BaseBytes.Load() > b.line.Hall.MaxBases {
		// Without bases, publications are sent in full until the sweep has made room.
		b.reset()
		return
	}
	for mode, m := range b.by {
		if m == nil {
			continue
		}
		line, key := &p.Bases[mode], ""
		if mode == KeyedBases {
			key = p.Key
		}
		m.Recent(key, p.Pub.Time, line.recent[:])
		// The count ends every run at the interval, except in these cases: the count was lost or made under
		// other rules, or the channel has conflation values, which share one run in single-base mode.
		if last := line.recent[0]; last != nil && !full {
			p.run[mode] = last.run[mode] + 1
		}
		if line.Full = full || p.run[mode] >= max(b.rules.Delta.Interval, 1); line.Full {
			p.run[mode] = 0
		}
		m.Put(key, p.Pub.Offset, p.Pub.Time, p.texts, size)
	}
}

// Count updates the totals of the hall. If there are bases of keyed mode, they share their texts with those
// of single-base mode, so only the former count.
func (b *Bases) Count() {
	m := b.by[KeyedBases]
	if m == nil {
		m = b.by[SingleBase]
	}
	if m == nil {
		return
	}
	b.line.Hall.BaseKeys.Add(int64(m.Len() - b.keys))
	b.line.Hall.BaseBytes.Add(int64(m.Bytes() - b.bytes))
	b.keys, b.bytes = m.Len(), m.Bytes()
}

// Size returns about how many bytes the bases take, as of the last Count.
func (b *Bases) Size() int { return b.bytes }

// Drop forgets all bases.
func (b *Bases) Drop() {
	b.reset()
	b.Count()
}
