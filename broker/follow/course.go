package follow

import (
	"slices"

	"github.com/sluicehq/sluice/broker"
)

type state uint8

const (
	// The zero state: the position is not known yet; messages are held.
	_ state = iota
	// following: messages are judged and delivered as they come.
	following
	// repairing: the log is being read; messages are held.
	repairing
	// ended: nothing is delivered any more.
	ended
)

const (
	// maxHeld and maxHeldBytes bound the held messages of a channel. Beyond either bound all held messages
	// are dropped, and the follower reads the missing publications from the log.
	maxHeld      = 4096
	maxHeldBytes = 16 << 20
	// maxSpare is the largest capacity of a slice of notices that is kept for reuse.
	maxSpare = 16
)

// course is the state of one followed channel. It is a plain value, guarded by the follower's lock.
type course[M any] struct {
	state state
	// at is the position up to which publications and gaps were passed on.
	at broker.Position
	// empty is true while no publication of the channel has been seen in the log.
	empty bool
	sinks []*Attachment[M]

	held  []M
	bytes int
	// dropped is set when held messages were dropped, until [Follower.Dropped] is called.
	dropped bool

	// out holds the notices to deliver, in order. telling is set while a goroutine delivers them.
	out, spare []notice[M]
	telling    bool
	// told is closed when the delivery in progress ends. It is nil if nobody waits for that.
	told chan struct{}
}

// notice is a publication or a gap, with the sinks that were attached when it was queued.
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

// free reports whether a live message that arrives now may be judged at once, before any other.
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

// due removes and returns the held messages if they may be judged now, else nil.
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

// gap queues a gap notice and continues at resume. Within an epoch the position never goes back; a new epoch
// may begin at a lower offset. empty is as in [broker.Gap].
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

// take removes and returns the queued notices.
func (c *course[M]) take() []notice[M] {
	out := c.out
	c.out, c.spare = c.spare, nil
	return out
}

// done takes back the slice of delivered notices for reuse.
func (c *course[M]) done(out []notice[M]) {
	clear(out)
	if cap(out) <= maxSpare {
		c.spare = out[:0]
	}
}

func (c *course[M]) attach(a *Attachment[M]) {
	a.at, a.empty = c.at, c.empty
	// A notice may share the slice, so its elements are never overwritten.
	c.sinks = append(slices.Clip(c.sinks), a)
}

func (c *course[M]) detach(a *Attachment[M]) {
	c.sinks = slices.DeleteFunc(slices.Clone(c.sinks), func(x *Attachment[M]) bool { return x == a })
}

func (c *course[M]) end() {
	c.state = ended
	c.sinks, c.held, c.bytes, c.out = nil, nil, 0, nil
}
