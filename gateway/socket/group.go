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

// hurryTime is how long a socket that must be closed has for a write in progress.
const hurryTime = time.Second

// Options are what all sockets of a group have in common. All are required.
type Options struct {
	// TotalBytes bounds what the slow sockets hold together. When it is nearly reached, the slowest are
	// closed.
	TotalBytes int64
	// SlowAge is how long one write to a socket that does not read may take.
	SlowAge time.Duration
	// Linger is how long a socket that was ended waits for its peer.
	Linger time.Duration
	Now    func() time.Time
}

// Group is all sockets of one gateway. Safe for concurrent use.
type Group struct {
	opt    Options
	budget Budget
	// closed counts the sockets that were closed because they did not read, by reason.
	closed [Reasons]atomic.Uint64
	// blocked waits for the goroutines of blocked sockets.
	blocked sync.WaitGroup

	mu      rank.Mutex[rank.Writers]
	writers []*Writer
}

// NewGroup returns a group without sockets. Run serves it.
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
	// ByTotal: all slow sockets together held too much.
	ByTotal
	// Reasons is the number of reasons.
	Reasons
)

func (r Reason) String() string { return [...]string{"queue", "time", "total"}[r] }

// Budget returns the budget that slow sockets share.
func (g *Group) Budget() *Budget { return &g.budget }

// Closed returns how many sockets were closed for a reason since the group began.
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

// Wait returns when no goroutine of a blocked socket is left. The loops of all writers must have ended
// before.
func (g *Group) Wait() { g.blocked.Wait() }

// slow is a socket that is blocked. Its weight is the bytes that it holds times the time since it was
// blocked. So a socket that fell behind a moment ago because of a burst is light, and so is one that is
// always a little late.
type slow struct {
	sock   *Socket
	weight float64
}

// makeRoom closes the slowest sockets until a quarter of the bound is free. No other goroutine waits for it.
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
