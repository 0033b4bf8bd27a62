package socket

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// hurryTime is how long a socket that must go has to take what is on its way.
const hurryTime = time.Second

// Options are what all sockets of a group have in common. All are required.
type Options struct {
	// TotalBytes bounds what the sockets that are behind hold together. When it is nearly
	// reached the slowest are closed.
	TotalBytes int64
	// SlowAge is how long one write to a socket that does not read may take.
	SlowAge time.Duration
	// Linger is how long a socket that ends waits for its peer.
	Linger time.Duration
	Now    func() time.Time
}

// Group is all sockets of one gateway.
type Group struct {
	opt    Options
	budget Budget
	// closed counts the sockets that were closed because they did not read.
	closed [Reasons]atomic.Uint64
	// blocked are the goroutines of the sockets that take no more.
	blocked sync.WaitGroup

	mu      rank.Mutex[rank.Writers]
	writers []*Writer
}

// NewGroup makes a group without sockets. Run serves it.
func NewGroup(opt Options) *Group {
	return &Group{opt: opt, budget: Budget{limit: opt.TotalBytes, wake: make(chan struct{}, 1)}}
}

// Reason says why a socket that did not read was closed.
type Reason int

// The reasons.
const (
	// ByQueue: its own queue was full.
	ByQueue Reason = iota
	// ByTime: it took nothing at all for too long.
	ByTime
	// ByTotal: all that are behind held too much together.
	ByTotal
	// Reasons is the number of reasons.
	Reasons
)

func (r Reason) String() string { return [...]string{"queue", "time", "total"}[r] }

// Budget is what the sockets that are behind share.
func (g *Group) Budget() *Budget { return &g.budget }

// Closed counts the sockets that were closed for a reason since the group began.
func (g *Group) Closed(why Reason) uint64 { return g.closed[why].Load() }

// Run makes room whenever the budget is nearly used up, until ctx is done.
func (g *Group) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.budget.wake:
			g.makeRoom(g.opt.Now())
		}
	}
}

// Wait returns when no goroutine of a blocked socket is left. The loops of all writers must
// have ended.
func (g *Group) Wait() { g.blocked.Wait() }

// slow is a socket that is behind. Its weight is how much it holds, times how long it
// has been behind: one that fell behind a moment ago because of a burst is light, and so
// is one that is always a little late.
type slow struct {
	sock   *Socket
	weight float64
}

// makeRoom closes the slowest sockets until a quarter of the bound is free. Nobody else
// waits for it.
func (g *Group) makeRoom(now time.Time) {
	if g.budget.low() {
		return
	}
	g.mu.Lock()
	writers := slices.Clone(g.writers)
	g.mu.Unlock()
	var all []slow
	for _, w := range writers {
		w.each(func(o *Outbox) {
			if o.flags&(blocked|closing|dead|retired) == blocked {
				all = append(all, slow{o.sock, float64(o.queued) * float64(now.UnixNano()-o.since)})
			}
		})
	}
	slices.SortFunc(all, func(a, b slow) int { return cmp.Compare(b.weight, a.weight) })
	for _, s := range all {
		if g.budget.low() {
			return
		}
		s.sock.giveUp(ByTotal)
	}
}
