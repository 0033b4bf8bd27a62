package fanout

import (
	"sync/atomic"
)

// Line leads to the subscribers of one channel.
type Line struct {
	Hall      *Hall
	App, Name string
	// Caches: the last event is sent to new subscribers.
	Caches bool
	// Serials: frames of V2 and event streams have serials.
	Serials bool
	// Past is nil for channels that have no past.
	Past Source
	// Report is told what was sent of one publication in one shard.
	Report func(Tally)
	Shards []Subscribers
	// posted counts the publications, and taps are shown them in addition to the subscribers.
	posted atomic.Uint64
	taps   atomic.Pointer[[]*Tap]

	rules atomic.Pointer[Rules]
	// salt is the difference of numbers and offsets, modulo 2^31.
	salt atomic.Uint32
}

// Source has the past of a channel.
type Source interface {
	// Next appends the next publications of a way, at most most of them, and returns the offset that they
	// reach. It reports false if the log must be read first. The way is woken then.
	Next(dst []*Event, p *Way, most int) (items []*Event, reached uint64, ok bool)
	// Leave forgets a way that has ended.
	Leave(p *Way)
}

// Prompt reports whether Post would not have to wait.
func (l *Line) Prompt() bool { return l.Hall.Prompt() }

// part is a shard that is given something, and the number of its subscriptions.
type part struct{ shard, sockets int }

// Post gives something to the shards that have subscribers. It waits while one of them is full.
func (l *Line) Post(p Prepared) {
	if e, ok := p.(*Event); ok {
		l.posted.Add(1)
		if taps := l.taps.Load(); taps != nil {
			for _, t := range *taps {
				t.Show(e)
			}
		}
	}
	// All shards must know of it before one of them sends it. Otherwise a client that has seen it could
	// subscribe in another shard and begin before it.
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
