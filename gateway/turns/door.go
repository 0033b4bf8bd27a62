package turns

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
)

// Door lets newcomers in at a pace that leaves time for what is live. Each costs some tenths of a
// millisecond, and thousands that come at once would otherwise stand in front of every event. How many
// may come follows from how late the process is, see [flow]. Nobody is refused: who comes faster waits,
// clients in turns, so that who comes in a crowd waits for himself. What waits is bounded by the
// connections, and of HTTP/2 by the caller.
type Door struct {
	// late takes a step and says how late it ended.
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

// crowd is who waits of one client. Who has gone is passed over when his turn comes, so that
// nobody has to be searched for.
type crowd struct {
	client  netip.Addr
	waiters []*Queued
	waiting int
}

// Queued is somebody who waits at a [Door]. He is called when he may come in.
type Queued struct {
	door *Door
	call func()
	of   *crowd
	let  bool
	gone bool
}

// NewDoor returns a door through which so many may come in a second in any case, at least one. How late
// this process is says a gauge, which ends after it.
func NewDoor(g *Gauge, least int) *Door {
	return &Door{late: g.step, flow: flow{least: float64(max(least, 1))}, crowds: map[netip.Addr]*crowd{}}
}

// Enter waits until one of a client may come in. The only error is that of the context.
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

// Queue is Enter for one who cannot wait here. It returns nil if he may come in at once. Otherwise call
// is called when he may; it must not wait.
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

// line puts somebody behind those of his client, and a client behind the others.
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

// Leave forgets somebody who waits no longer, and reports false if he was let in.
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

// fewer counts one who waits no longer. A crowd of which nobody waits is none any more.
func (d *Door) fewer(c *crowd) {
	d.waiting--
	if c.waiting--; c.waiting == 0 {
		delete(d.crowds, c.client)
	}
	if d.waiting == 0 {
		d.turns = nil
	}
}

// serve lets in who waits, until nobody does.
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

// next lets one in, of the client whose turn it is. Somebody waits.
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

// Open lets everybody in from now on, as when nothing is live any more. It returns when who waited is in.
func (d *Door) Open() {
	d.mu.Lock()
	d.open = true
	d.mu.Unlock()
	d.served.Wait()
}

// Size is the number of those who wait.
func (d *Door) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(d.waiting)
}
