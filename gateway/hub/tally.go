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

// report adds what was sent to the metrics of the channel.
func (t *tally) report(c *Channel) {
	if t.original == 0 {
		return
	}
	m := c.counters()
	if t.fulls > 0 {
		m.full.Add(float64(t.fulls))
	}
	if t.deltas > 0 {
		m.deltas.Add(float64(t.deltas))
		m.saved.Add(float64(t.saved))
	}
	m.original.Add(float64(t.original))
}
