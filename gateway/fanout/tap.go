package fanout

import (
	"slices"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Tap is somebody who is shown what is published in a channel beside its subscribers: an
// operator who looks at it. Without one, nothing is done for it.
type Tap struct {
	// Show is called by who posts, one publication after the other. It must not wait.
	Show func(p *Event)
}

// Tap begins to show what is posted, and returns what ends that. A call that is under way may
// still be running when it ends.
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

// Outcome is how a publication goes out to those who take deltas.
type Outcome struct {
	// Full is the size of the frame in full, in bytes, without what the transport adds, and
	// Delta that of the delta from what such a subscriber holds, 0 if it gets it in full.
	Full, Delta int
	// Tracked publications take part in delta compression.
	Tracked bool
	// Key is the conflation value.
	Key string
}

// Outcome makes the frames that nobody has needed so far, so it is for operators. The frames
// are those of V1, in the format of the channel.
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
