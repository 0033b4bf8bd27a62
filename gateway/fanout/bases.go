package fanout

import (
	"bytes"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// MaxBaseBytes bounds the bases kept for one channel.
	MaxBaseBytes = 8 << 20
	// maxTracked is the largest frame that takes part in delta compression.
	maxTracked = 1 << 20
)

// Bases are the publications of one channel from which deltas can start. They belong to the
// owner of the channel.
type Bases struct {
	line *Line
	// rules are those under which they were made.
	rules *Rules
	// by mode; those of keyed mode are there only if the channel has a conflation path, and
	// none if nothing is compressed.
	by [modes]*delta.Bases[*texts]
	// salt is of the life of the log, number that of the last base.
	salt   uint64
	number uint32
	// run is the number of deltas since the last full frame in single-base mode, whatever
	// their conflation values.
	run int
	// keys and bytes are what the hall has been told of them.
	keys, bytes int
}

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

// Begin starts a new life of the log: no earlier base or number means anything.
func (b *Bases) Begin(epoch string) {
	b.salt = delta.Salt(b.line.App, b.line.Name, epoch)
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

// Track makes a publication a base, if it takes part in delta compression, and full says
// that the interval asks for the full frame.
func (b *Bases) Track(p *Event, full bool) {
	if !b.rules.Delta.Enabled {
		return
	}
	if poisoned(p.Pub) {
		b.reset()
		return
	}
	if !p.tracks() {
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

// put notes what deltas of a tracked publication may start from, and makes it
// the newest base.
func (b *Bases) put(p *Event, full bool) {
	size := 2*p.bytes + 512
	if b.line.Hall.BaseBytes.Load() > b.line.Hall.MaxBases {
		// Full frames do without, until somebody has made room.
		b.reset()
		return
	}
	// In keyed mode single-base clients are a minority. The runs of all
	// conflation values end in their one, so theirs may need an end of its own.
	b.run++
	singleFull := full || b.rules.Keyed && b.run >= max(b.rules.Delta.Interval, 1)
	if singleFull {
		b.run = 0
	}
	for mode, m := range b.by {
		if m == nil {
			continue
		}
		line, key := &p.Bases[mode], ""
		line.Full = singleFull
		if mode == KeyedBases {
			line.Full, key = full, p.Key
		}
		m.Recent(key, p.Pub.Time, line.recent[:])
		m.Put(key, p.Pub.Offset, p.Pub.Time, p.texts, size)
	}
}

// Count tells the hall how many bases the channel keeps. Those of single-base mode beside
// others hold nothing of their own.
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

// Size is about how many bytes the bases take.
func (b *Bases) Size() int { return b.bytes }

// Drop forgets all bases.
func (b *Bases) Drop() {
	b.reset()
	b.Count()
}

// tracks says whether a publication takes part (protocol section 3.6).
func (t *texts) tracks() bool {
	pub := t.Pub
	if pub.Delta == broker.DeltaNever || t.shape == delta.Empty || t.shape == delta.Scalar || len(pub.Data) > maxTracked {
		return false
	}
	if pub.Delta == broker.DeltaAlways || len(pub.Data) >= t.rules.Delta.MinSize {
		return true
	}
	// The V1 text decides for both dialects: the decision must be one.
	ev := t.event(pusher.V1, t.embed)
	return len(pusher.AppendBare(nil, pusher.V1, &ev)) >= t.rules.Delta.MinSize
}

// poisoned tells whether a text would confuse clients that look for the old
// marker names inside payloads (protocol section 3.6).
func poisoned(p *broker.Publication) bool {
	return bytes.Contains(p.Data, []byte("__delta_seq")) || bytes.Contains(p.Data, []byte("__conflation_key")) ||
		p.Name == "__delta_seq" || p.Name == "__conflation_key"
}
