package hub

import (
	"bytes"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	// baseBytes bounds the bases kept for one channel.
	baseBytes = 8 << 20
	// maxTracked is the largest frame that takes part in delta compression.
	maxTracked = 1 << 20
)

// bases are the publications of one channel from which deltas can start. They belong to the
// owner of the channel.
type bases struct {
	line *line
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

func newBases(l *line) bases {
	b := bases{line: l}
	if !l.delta.Enabled {
		return b
	}
	limits := delta.Limits{
		Keys: 1, Bytes: baseBytes, Age: time.Duration(l.delta.MaxAgeSeconds) * time.Second, Older: olderBases,
	}
	b.by[singleBase] = delta.NewBases[*texts](limits)
	if l.keyed {
		limits.Keys = max(l.delta.MaxKeys, 1)
		b.by[keyedBases] = delta.NewBases[*texts](limits)
	}
	return b
}

// begin starts a new life of the log: no earlier base or number means anything.
func (b *bases) begin(epoch string) {
	b.salt = delta.Salt(b.line.app, b.line.name, epoch)
	b.number = 0
	b.reset()
}

// reset makes the next tracked frame of every conflation value full.
func (b *bases) reset() {
	for _, m := range b.by {
		if m != nil {
			m.Reset()
		}
	}
}

// track makes a publication a base, if it takes part in delta compression, and full says
// that the interval asks for the full frame.
func (b *bases) track(p *event, full bool) {
	if !b.line.delta.Enabled {
		return
	}
	if poisoned(p.pub) {
		b.reset()
		return
	}
	if !b.line.tracks(p.texts) {
		return
	}
	p.tracked = true
	p.number = delta.Number(p.pub.Offset, b.salt)
	if p.number < b.number {
		b.reset()
	}
	b.number = p.number
	b.put(p, full)
}

// put notes what deltas of a tracked publication may start from, and makes it
// the newest base.
func (b *bases) put(p *event, full bool) {
	size := 2*len(p.pub.Data) + 512
	if b.line.hall.baseBytes.Load() > b.line.hall.maxBases {
		// Full frames do without, until somebody has made room.
		b.reset()
		return
	}
	// In keyed mode single-base clients are a minority. The runs of all
	// conflation values end in their one, so theirs may need an end of its own.
	b.run++
	singleFull := full || b.line.keyed && b.run >= max(b.line.delta.Interval, 1)
	if singleFull {
		b.run = 0
	}
	for mode, m := range b.by {
		if m == nil {
			continue
		}
		line, key := &p.bases[mode], ""
		line.full = singleFull
		if mode == keyedBases {
			line.full, key = full, p.key
		}
		m.Recent(key, p.pub.Time, line.recent[:])
		m.Put(key, p.pub.Offset, p.pub.Time, p.texts, size)
	}
}

// count tells the hall how many bases the channel keeps. Those of single-base mode beside
// others hold nothing of their own.
func (b *bases) count() {
	m := b.by[keyedBases]
	if m == nil {
		m = b.by[singleBase]
	}
	if m == nil {
		return
	}
	b.line.hall.baseKeys.Add(int64(m.Len() - b.keys))
	b.line.hall.baseBytes.Add(int64(m.Bytes() - b.bytes))
	b.keys, b.bytes = m.Len(), m.Bytes()
}

// size is about how many bytes the bases take.
func (b *bases) size() int { return b.bytes }

// drop forgets all bases.
func (b *bases) drop() {
	b.reset()
	b.count()
}

// tracks says whether a publication takes part (protocol section 3.6).
func (l *line) tracks(t *texts) bool {
	pub := t.pub
	if pub.Delta == broker.DeltaNever || t.shape == delta.Empty || t.shape == delta.Scalar || len(pub.Data) > maxTracked {
		return false
	}
	if pub.Delta == broker.DeltaAlways || len(pub.Data) >= l.delta.MinSize {
		return true
	}
	// The V1 text decides for both dialects: the decision must be one.
	ev := t.event(pusher.V1, t.embed)
	return len(pusher.AppendBare(nil, pusher.V1, &ev)) >= l.delta.MinSize
}

// poisoned tells whether a text would confuse clients that look for the old
// marker names inside payloads (protocol section 3.6).
func poisoned(p *broker.Publication) bool {
	return bytes.Contains(p.Data, []byte("__delta_seq")) || bytes.Contains(p.Data, []byte("__conflation_key")) ||
		p.Name == "__delta_seq" || p.Name == "__conflation_key"
}
