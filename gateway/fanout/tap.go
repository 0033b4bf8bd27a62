package fanout

import (
	"slices"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Tap shows an operator what is published in a channel. Without a tap, this costs nothing but loading one
// pointer.
type Tap struct {
	// Show is called by the posting goroutine, one publication after the other. It must not wait.
	Show func(p *Event)
}

// Tap begins to show what is posted, and returns a function that ends that. A call of Show may still be
// running when stop returns.
func (l *Line) Tap(t *Tap) (stop func()) {
	l.setTaps(func(all []*Tap) []*Tap { return append(all, t) })
	return func() {
		l.setTaps(func(all []*Tap) []*Tap { return slices.DeleteFunc(all, func(o *Tap) bool { return o == t }) })
	}
}

func (l *Line) setTaps(change func([]*Tap) []*Tap) {
	for {
		old := l.taps.Load()
		var all []*Tap
		if old != nil {
			all = slices.Clone(*old)
		}
		var next *[]*Tap
		if all = change(all); len(all) > 0 {
			next = &all
		}
		if l.taps.CompareAndSwap(old, next) {
			return
		}
	}
}

// Outcome is how a publication is sent to subscriptions with delta compression.
type Outcome struct {
	// Full is the size of the full frame in bytes, without what the transport adds. Delta is the size of the
	// delta from the last base, 0 if the publication is sent in full.
	Full, Delta int
	// Tracked publications take part in delta compression.
	Tracked bool
	// Key is the conflation value.
	Key string
}

// Outcome makes the frames that were not needed so far, so it is for operators only. The frames are those of
// V1, in the format of the channel.
func (p *Event) Outcome() Outcome {
	out := Outcome{Tracked: p.Tracked, Key: p.Key}
	if !p.Tracked {
		out.Full = len(p.Bare(pusher.V1, false).Payload())
		return out
	}
	f := Delta
	if p.rules.Keyed {
		f |= Keyed
	}
	if p.rules.Delta.Algorithm == VCDIFF.Algorithm() {
		f |= VCDIFF
	}
	out.Full = len(p.full(f).Payload())
	if from := p.lineage(f); !from.Full && from.recent[0] != nil {
		if d := p.delta(f, 0); d != nil {
			out.Delta = len(d.Payload())
		}
	}
	return out
}
