package fanout

import (
	"github.com/sluicehq/sluice/gateway/socket"
)

// Tally counts what was sent of one publication in one shard.
type Tally struct {
	// Fulls and Deltas count frames with markers. Original is the bytes without deltas, Saved what deltas
	// saved of it.
	Fulls, Deltas   int
	Original, Saved int
}

// add counts a frame that was sent in place of the full frame.
func (t *Tally) add(f, full *socket.Frame) {
	size := len(full.Payload())
	t.Original += size
	if f == full {
		t.Fulls++
		return
	}
	t.Deltas++
	t.Saved += size - len(f.Payload())
}

// sent reports a tally, unless it is empty.
func (l *Line) sent(t *Tally) {
	if t.Original > 0 {
		l.Report(*t)
	}
}
