package hub

import (
	"github.com/sluicehq/sluice/gateway/socket"
)

// tally counts what was sent of one publication in one shard.
type tally struct {
	// What was sent of tracked frames, and their bytes.
	fulls, deltas   int
	original, saved int
}

// add counts a frame that was sent and the full frame that it stands for.
func (t *tally) add(f, full *socket.Frame) {
	size := len(full.Payload())
	t.original += size
	if f == full {
		t.fulls++
		return
	}
	t.deltas++
	t.saved += size - len(f.Payload())
}

// sent reports a tally, if there is something in it.
func (l *line) sent(t *tally) {
	if t.original > 0 {
		l.report(t)
	}
}
