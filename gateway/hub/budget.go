package hub

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// frameRoom and slotRoom are what a frame and a place in a queue take beside the
	// bytes of the frame, in bytes.
	frameRoom = 64
	slotRoom  = 16
	// hurryTime is how long a socket that must go has to take what is on its way.
	hurryTime = time.Second
)

// budget counts what the sockets that are behind hold together: each frame once, however
// many of them wait for it, and what they have for themselves. Sockets that take what
// they are sent are not in it: their frames are gone within the round of their shard, so
// the ordinary way of a frame costs nothing here.
type budget struct {
	limit int64
	bytes atomic.Int64
	// wake has a word for the one that makes room.
	wake chan struct{}
}

func newBudget(limit int64) *budget { return &budget{limit: limit, wake: make(chan struct{}, 1)} }

// full tells that nothing more fits. It is the bound; long before it [Hub.shed] begins
// to make room.
func (b *budget) full() bool { return b.bytes.Load() >= b.limit }

func (b *budget) add(n int64) {
	if b.bytes.Add(n) <= b.limit/8*7 || n <= 0 {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// hold counts a frame that waits for one more socket.
func (b *budget) hold(f *Frame) {
	n := int64(slotRoom)
	if f.held.Add(1) == 1 {
		n += int64(len(f.b)) + frameRoom
	}
	b.add(n)
}

// release takes hold back.
func (b *budget) release(f *Frame) {
	n := int64(slotRoom)
	if f.held.Add(-1) == 0 {
		n += int64(len(f.b)) + frameRoom
	}
	b.add(-n)
}

// holdWaiting counts a publication that waits for one more socket which is behind. With
// it stay the frames that are made of it and the bases that it starts from.
func (b *budget) holdWaiting(p *prepared) {
	n := int64(pendingRoom)
	if p.waited.Add(1) == 1 {
		n += waitingWeight(p)
	}
	b.add(n)
}

// releaseWaiting takes holdWaiting back.
func (b *budget) releaseWaiting(p *prepared) {
	n := int64(pendingRoom)
	if p.waited.Add(-1) == 0 {
		n += waitingWeight(p)
	}
	b.add(-n)
}

func waitingWeight(p *prepared) int64 { return 2 * int64(p.weight) }

// shedLoop makes room whenever somebody asks for it.
func (h *Hub) shedLoop() {
	defer h.loops.Done()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.limits.all.wake:
			h.shed(h.opt.Now())
		}
	}
}

// slow is a socket that is behind. Its weight is how much it holds, times how long it
// has been behind: one that fell behind a moment ago because of a burst is light, and so
// is one that is always a little late.
type slow struct {
	client *Client
	weight float64
}

// shed closes the slowest sockets until a quarter of the bound is free. Nobody else
// waits for it.
func (h *Hub) shed(now time.Time) {
	enough := h.limits.all.limit / 4 * 3
	if h.limits.all.bytes.Load() <= enough {
		return
	}
	var all []slow
	for _, s := range h.shards {
		for _, c := range s.snapshot(nil) {
			c.out.mu.Lock()
			if c.out.client == c && c.out.flags&(blocked|closing|dead|retired) == blocked {
				all = append(all, slow{c, float64(c.out.queued) * float64(now.UnixNano()-c.out.since)})
			}
			c.out.mu.Unlock()
		}
	}
	slices.SortFunc(all, func(a, b slow) int { return cmp.Compare(b.weight, a.weight) })
	for _, v := range all {
		if h.limits.all.bytes.Load() <= enough {
			return
		}
		v.client.shed()
	}
}

// shed closes a connection for the good of the others.
func (c *Client) shed() {
	if c.out.giveUp(&c.hub.limits, byTotal) != overflowed {
		return
	}
	c.shard.overflows.Add(1)
	c.shard.mark(c.out)
	c.sock.hurry(hurryTime)
}
