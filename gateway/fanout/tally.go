package fanout

import (
	"github.com/sluicehq/sluice/gateway/socket"
)

// Tally counts what was sent of one publication in one shard.
type Tally struct {
	// What was sent of tracked frames, and their bytes.
	Fulls, Deltas   int
	Original, Saved int
}

// add counts a frame that was sent and the full frame that it stands for.
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

// sent reports a tally, if there is something in it.
func (l *Line) sent(t *Tally) {
	if t.Original > 0 {
		l.Report(*t)
	}
}
