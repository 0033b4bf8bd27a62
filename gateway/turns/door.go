package turns

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Door admits newcomers at a pace that leaves time for live events. Each newcomer costs some tenths of a
// millisecond, and thousands that arrive at once would be handled before every event. How many are admitted
// follows from how late the process is, see [flow]. Nobody is refused: newcomers that arrive faster wait, and
// clients take turns, so that a client with many connections waits behind its own. The queue is bounded by
// the number of connections, and for HTTP/2 by the caller. Safe for concurrent use.
type Door struct {
	// late waits for one step and returns how late it ended.
	late func() time.Duration

	mu      rank.Mutex[rank.Door]
	flow    flow
	open    bool
	serving bool
	served  sync.WaitGroup
	waiting int
	turns   []*crowd
	crowds  map[netip.Addr]*crowd
}

// crowd has the waiters of one client. Waiters that have left are skipped at their turn, so that they need
// not be searched for.
type crowd struct {
	client  netip.Addr
	waiters []*Queued
	waiting int
}

// Queued waits at a [Door]. Its function is called when it is admitted.
type Queued struct {
	door *Door
	call func()
	of   *crowd
	let  bool
	gone bool
}

// NewDoor returns a door. least is the minimum rate in newcomers a second, at least 1. g measures how late this
// process is, and must end after the door.
func NewDoor(g *Gauge, least int) *Door {
	return &Door{late: g.step, flow: flow{least: float64(max(least, 1))}, crowds: map[netip.Addr]*crowd{}}
}

// Enter waits until a newcomer of a client is admitted. The only error is that of ctx.
func (d *Door) Enter(ctx context.Context, client netip.Addr) error {
	in := make(chan struct{})
	w := d.Queue(client, func() { close(in) })
	if w == nil {
		return nil
	}
	select {
	case <-in:
		return nil
	case <-ctx.Done():
	}
	if w.Leave() {
		return ctx.Err()
	}
	return nil
}

// Queue is Enter without waiting. It returns nil if the newcomer is admitted at once. Otherwise call is
// called on admission, with the lock of the door held; it must not wait.
func (d *Door) Queue(client netip.Addr, call func()) *Queued {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open || d.waiting == 0 && d.flow.take(time.Now()) {
		return nil
	}
	w := d.line(client, call)
	if !d.serving {
		d.serving = true
		d.served.Go(d.serve)
	}
	return w
}

// line appends a waiter to those of its client, and a new client to the others. The caller holds mu.
func (d *Door) line(client netip.Addr, call func()) *Queued {
	c := d.crowds[client]
	if c == nil {
		c = &crowd{client: client}
		d.crowds[client] = c
		d.turns = append(d.turns, c)
	}
	w := &Queued{door: d, call: call, of: c}
	c.waiters = append(c.waiters, w)
	c.waiting++
	d.waiting++
	return w
}

// Leave removes a waiter. It reports false if it was admitted already.
func (w *Queued) Leave() bool {
	d := w.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.let {
		return false
	}
	w.gone = true
	d.fewer(w.of)
	return true
}

// fewer counts one waiter less. A crowd without waiters is removed. The caller holds mu.
func (d *Door) fewer(c *crowd) {
	d.waiting--
	if c.waiting--; c.waiting == 0 {
		delete(d.crowds, c.client)
	}
	if d.waiting == 0 {
		d.turns = nil
	}
}

// serve admits waiters until none is left.
func (d *Door) serve() {
	for {
		by := d.late()
		d.mu.Lock()
		d.flow.judge(by)
		for now := time.Now(); d.waiting > 0 && (d.open || d.flow.take(now)); {
			d.next()
		}
		if d.waiting == 0 {
			d.serving = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
	}
}

// next admits one waiter of the client whose turn it is. There must be one. The caller holds mu.
func (d *Door) next() {
	for {
		c := d.turns[0]
		d.turns = d.turns[1:]
		for c.waiting > 0 && c.waiters[0].gone {
			c.waiters = c.waiters[1:]
		}
		if c.waiting == 0 {
			continue
		}
		w := c.waiters[0]
		c.waiters = c.waiters[1:]
		w.let = true
		w.call()
		if c.waiting > 1 {
			d.turns = append(d.turns, c)
		}
		d.fewer(c)
		return
	}
}

// Open admits everybody from now on, for example when there are no live events any more. It returns when all
// waiters are admitted.
func (d *Door) Open() {
	d.mu.Lock()
	d.open = true
	d.mu.Unlock()
	d.served.Wait()
}

// Size returns the number of waiters.
func (d *Door) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(d.waiting)
}
