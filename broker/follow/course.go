package follow

import (
	"slices"

	"github.com/sluicehq/sluice/broker"
)

type state uint8

const (
	// Without one, the position is not known yet; messages are held.
	_ state = iota
	// following: messages are judged and given as they come.
	following
	// repairing: the log is read; messages are held.
	repairing
	// ended: nothing is given any more.
	ended
)

const (
	// maxHeld and maxHeldBytes bound what is held of a channel. Beyond them all of it is given
	// up, and what is missing is read from the log.
	maxHeld      = 4096
	maxHeldBytes = 16 << 20
	// maxSpare is the capacity for notices that a quiet channel keeps.
	maxSpare = 16
)

// course is where a channel is on its way: a plain value that its follower guards.
type course[M any] struct {
	state state
	// at is the position that was given: what follows lies above it.
	at broker.Position
	// empty is set as long as the log was not seen to have anything of the channel.
	empty bool
	sinks []*Attachment[M]

	held  []M
	bytes int
	// dropped is set when held messages were given up, until the line asks.
	dropped bool

	// out is to be told, in order. telling is set while somebody does that.
	out, spare []notice[M]
	telling    bool
	// told is closed at the end of the telling that is under way, nil if nobody waits for it.
	told chan struct{}
}

// notice is what the sinks of a moment are told.
type notice[M any] struct {
	publication *broker.Publication
	gap         *broker.Gap
	sinks       []*Attachment[M]
}

func (n *notice[M]) tell() {
	for _, a := range n.sinks {
		switch {
		case a.gone.Load():
		case n.gap != nil:
			a.sink.Gap(*n.gap)
		default:
			a.sink.Publication(n.publication)
		}
	}
}

// free says whether a message that comes now is the next one to judge.
func (c *course[M]) free() bool {
	return c.state == following && !c.telling && len(c.out) == 0 && len(c.held) == 0
}

func (c *course[M]) hold(m M, size int) {
	if len(c.held) >= maxHeld || c.bytes > maxHeldBytes {
		c.held, c.bytes, c.dropped = nil, 0, true
	}
	c.held = append(c.held, m)
	c.bytes += size
}

// due are the held messages, if it is their turn.
func (c *course[M]) due() []M {
	if c.state != following || len(c.out) > 0 || len(c.held) == 0 {
		return nil
	}
	held := c.held
	c.held, c.bytes = nil, 0
	return held
}

func (c *course[M]) give(p *broker.Publication) {
	c.empty = false
	if p.Offset <= c.at.Offset {
		return
	}
	c.at.Offset = p.Offset
	if len(c.sinks) > 0 {
		c.out = append(c.out, notice[M]{publication: p, sinks: c.sinks})
	}
}

// gap tells that publications are missing, and goes on behind them: never before where it is,
// unless a new life of the log begins. empty is as in [broker.Gap].
func (c *course[M]) gap(resume broker.Position, reason broker.GapReason, empty bool) {
	if resume.Epoch == c.at.Epoch {
		resume.Offset = max(resume.Offset, c.at.Offset)
	}
	g := &broker.Gap{After: c.at, Resume: resume, Reason: reason, Empty: empty || resume.Offset == 0}
	c.at, c.empty = resume, g.Empty
	if len(c.sinks) > 0 {
		c.out = append(c.out, notice[M]{gap: g, sinks: c.sinks})
	}
}

// take returns what is to be told now.
func (c *course[M]) take() []notice[M] {
	out := c.out
	c.out, c.spare = c.spare, nil
	return out
}

// done takes back the slice of what was told.
func (c *course[M]) done(out []notice[M]) {
	clear(out)
	if cap(out) <= maxSpare {
		c.spare = out[:0]
	}
}

func (c *course[M]) attach(a *Attachment[M]) {
	a.at, a.empty = c.at, c.empty
	// The slice may be with a notice, so it is never written again.
	c.sinks = append(slices.Clip(c.sinks), a)
}

func (c *course[M]) detach(a *Attachment[M]) {
	c.sinks = slices.DeleteFunc(slices.Clone(c.sinks), func(x *Attachment[M]) bool { return x == a })
}

func (c *course[M]) end() {
	c.state = ended
	c.sinks, c.held, c.bytes, c.out = nil, nil, 0, nil
}
