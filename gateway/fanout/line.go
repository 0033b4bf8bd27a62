package fanout

import (
	"sync/atomic"
)

// Line is what goes to the subscribers of one channel.
type Line struct {
	Hall      *Hall
	App, Name string
	// Caches: the last event is sent to new subscribers.
	Caches bool
	// Serials are in the frames of V2.
	Serials bool
	// Past is nil for channels that have no past.
	Past Source
	// Report is told what was sent of one publication in one shard.
	Report func(Tally)
	Shards []Subscribers
	// posted counts the publications, and taps are who is shown them beside the subscribers.
	posted atomic.Uint64
	taps   atomic.Pointer[[]*Tap]

	rules atomic.Pointer[Rules]
	// salt is by how much numbers are above offsets, modulo 2^31.
	salt atomic.Uint32
}

// Source has the past of a channel.
type Source interface {
	// Next appends what a way comes to next, up to most publications, and returns the place
	// that they reach. It reports false when the log must be read; the way is woken then.
	Next(dst []*Event, p *Way, most int) (items []*Event, reached uint64, ok bool)
	// Leave forgets a way that has ended.
	Leave(p *Way)
}

// Prompt says whether what comes next would be posted without waiting.
func (l *Line) Prompt() bool { return l.Hall.Prompt() }

// part is a shard that is given something, for so many sockets.
type part struct{ shard, sockets int }

// Post gives something to the shards that have subscribers.
func (l *Line) Post(p Prepared) {
	if e, ok := p.(*Event); ok {
		l.posted.Add(1)
		if taps := l.taps.Load(); taps != nil {
			for _, t := range *taps {
				t.Show(e)
			}
		}
	}
	// All shards know of it before one of them sends it: who subscribes after others have got
	// it begins behind it.
	var room [16]part
	all := room[:0]
	for i := range l.Shards {
		if wanted, sockets := l.Shards[i].wants(p); wanted {
			all = append(all, part{i, sockets})
		}
	}
	for _, d := range all {
		s, j := l.Hall.Shards[d.shard], job{to: &l.Shards[d.shard], p: p}
		if !s.doneHere(j, d.sockets) {
			s.post(j)
		}
	}
}
