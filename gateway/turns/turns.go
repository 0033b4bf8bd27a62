package turns

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// staleAfter is how long an attach counts as load of this machine. After that it is waiting for a slow
	// log, and its place is free for the next one.
	staleAfter = 50 * time.Millisecond
	// many is the number of recent turns from which on a client is no newcomer any more, and the number of
	// turns from which on a connection falls under the common rate.
	many = 32
	// memory is how long turns are remembered at least, and maxClients is the number of clients whose turns
	// are remembered.
	memory, maxClients = 5 * time.Second, 16_384
)

// These are the kinds of waiters: clients that had few turns lately, all others, and connections that had
// many turns, for which there is a rate.
const (
	newcomer = iota
	regular
	heavy
	kinds
)

// strides say how often each kind is served while others wait: the smaller, the more often.
var strides = [kinds]uint64{1, 3, 3}

// Gate bounds how many channels are being attached at a time, because each costs messages to the log and
// readings of it. Clients, known by their addresses, take turns, so that one that asks for thousands of
// channels waits behind its own requests. Clients that had few turns lately go first, but not always. A
// connection waits for one channel at a time, so the number of waiters is bounded by the connections. Within
// a client, connections are served in the order of their requests.
//
// This alone would let a few connections keep the machine busy for ever. So connections that have had many
// turns share a rate, after a burst of four seconds of it. Clients that reconnect, however many, have few
// channels each that nobody else is in. Safe for concurrent use.
type Gate[K comparable] struct {
	// Stale is how long an attach counts as load of this machine. It may be set before the gate is used.
	Stale time.Duration

	places int
	rate   *rate.Limiter // nil for no bound
	now    func() time.Time

	mu rank.Mutex[rank.Gate]
	// used counts the attaches that are in progress and not stale.
	used, waiting int
	clients       map[applicantKey]*applicant[K]
	// turns are the waiting clients by kind. passes orders the kinds: the lowest is served next. pass is that
	// of the kind that was served last.
	turns  [kinds][]*applicant[K]
	passes [kinds]uint64
	pass   uint64
	// refill is set while a timer waits for the rate.
	refill bool
	// wanted has the waiters of each channel, because the channel may be attached by another one.
	wanted map[K][]*waiter[K]
	// had counts the turns of clients, in the present span of memory and in the one before.
	had   [2]map[netip.Addr]int
	began time.Time
}

// Asker is a connection that wants channels attached. Only its reading goroutine uses it.
type Asker struct {
	// Address is what counts as one client.
	Address netip.Addr
	turns   int
}

// AskerAt returns the asker of a connection from an address with a port. network returns what counts as one
// client. All addresses that cannot be parsed count as one client.
func AskerAt(address string, network func(netip.Addr) netip.Addr) (by Asker) {
	if at, err := netip.ParseAddrPort(address); err == nil {
		by.Address = network(at.Addr())
	}
	return by
}

// applicantKey is a client. Its connections that had many turns form a separate applicant.
type applicantKey struct {
	address netip.Addr
	heavy   bool
}

// applicant is a client with waiters.
type applicant[K comparable] struct {
	applicantKey
	waiters []*waiter[K]
}

type waiter[K comparable] struct {
	key K
	// served is closed when the turn has come, or when the channel is being attached by another one; place
	// says that it is a turn. The lock of the gate guards place and over.
	served      chan struct{}
	place, over bool
}

// Place is a turn to attach a channel. [Place.End] must be called.
type Place[K comparable] struct {
	gate  *Gate[K]
	stale *time.Timer
	freed bool // guarded by the lock of the gate
}

// New returns a gate with that many places. perSecond bounds the rate of connections with many turns, 0 for
// no bound.
func New[K comparable](places, perSecond int, now func() time.Time) *Gate[K] {
	g := &Gate[K]{
		Stale: staleAfter, places: places, now: now, clients: map[applicantKey]*applicant[K]{}, wanted: map[K][]*waiter[K]{},
		had: [2]map[netip.Addr]int{{}, {}}, began: now(),
	}
	if perSecond > 0 {
		g.rate = rate.NewLimiter(rate.Limit(perSecond), 4*perSecond)
	}
	return g
}

// Enter waits for the turn of a connection to attach a channel. It returns nil if another connection began to
// attach it meanwhile. The only error is that of ctx.
func (g *Gate[K]) Enter(ctx context.Context, by *Asker, key K) (*Place[K], error) {
	w := &waiter[K]{key: key, served: make(chan struct{})}
	g.mu.Lock()
	g.queue(w, applicantKey{by.Address, by.turns >= many && g.rate != nil})
	g.serve()
	g.mu.Unlock()
	select {
	case <-w.served:
	case <-ctx.Done():
		if g.withdraw(w) {
			return nil, ctx.Err()
		}
	}
	if !w.place {
		return nil, nil
	}
	by.turns++
	p := &Place[K]{gate: g}
	p.stale = time.AfterFunc(g.Stale, p.free)
	return p, nil
}

// End gives the place back.
func (p *Place[K]) End() {
	p.stale.Stop()
	p.free()
}

func (p *Place[K]) free() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if !p.freed {
		p.freed = true
		p.gate.used--
		p.gate.serve()
	}
}

// Coming releases the waiters of a channel that is being attached now.
func (g *Gate[K]) Coming(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.wanted[key] {
		g.finish(w)
	}
	delete(g.wanted, key)
}

// Size returns the number of waiters.
func (g *Gate[K]) Size() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.waiting)
}

func (g *Gate[K]) queue(w *waiter[K], of applicantKey) {
	c := g.clients[of]
	if c == nil {
		c = &applicant[K]{applicantKey: of}
		g.clients[of] = c
		g.line(c)
	}
	c.waiters = append(c.waiters, w)
	g.wanted[w.key] = append(g.wanted[w.key], w)
	g.waiting++
}

// line appends a client to those of its kind. The caller holds mu, as for all functions below.
func (g *Gate[K]) line(c *applicant[K]) {
	kind := newcomer
	switch {
	case c.heavy:
		kind = heavy
	case g.had[0][c.address]+g.had[1][c.address] >= many:
		kind = regular
	}
	if len(g.turns[kind]) == 0 {
		g.passes[kind] = max(g.passes[kind], g.pass)
	}
	g.turns[kind] = append(g.turns[kind], c)
}

// serve gives free places to waiters.
func (g *Gate[K]) serve() {
	g.age()
	for g.used < g.places {
		c := g.next()
		if c == nil {
			return
		}
		w := c.first()
		if w != nil {
			if c.heavy {
				g.rate.Allow()
			}
			g.unwant(w)
			w.place = true
			g.used++
			g.finish(w)
			g.note(c.address)
		}
		if len(c.waiters) > 0 {
			g.line(c)
		} else {
			delete(g.clients, c.applicantKey)
		}
	}
}

// next removes and returns the client whose turn it is, nil if there is none.
func (g *Gate[K]) next() *applicant[K] {
	best := -1
	for kind := range g.turns {
		if len(g.turns[kind]) > 0 && (best < 0 || g.passes[kind] < g.passes[best]) && (kind != heavy || g.affords()) {
			best = kind
		}
	}
	if best < 0 {
		return nil
	}
	g.pass = g.passes[best]
	g.passes[best] += strides[best]
	c := g.turns[best][0]
	g.turns[best][0] = nil
	g.turns[best] = g.turns[best][1:]
	return c
}

// affords reports whether the rate allows another turn. If not, it starts a timer that serves the waiters
// when it does. It uses the real clock, because they wait in real time.
func (g *Gate[K]) affords() bool {
	if g.rate.Tokens() >= 1 {
		return true
	}
	if !g.refill {
		g.refill = true
		time.AfterFunc(time.Duration(float64(time.Second)/float64(g.rate.Limit()))+time.Millisecond, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.refill = false
			g.serve()
		})
	}
	return false
}

// first removes and returns the first waiter of a client, nil if there is none.
func (c *applicant[K]) first() *waiter[K] {
	for len(c.waiters) > 0 {
		w := c.waiters[0]
		c.waiters[0] = nil
		c.waiters = c.waiters[1:]
		if !w.over {
			return w
		}
	}
	return nil
}

func (g *Gate[K]) finish(w *waiter[K]) {
	w.over = true
	g.waiting--
	close(w.served)
}

// withdraw removes a waiter, and reports false if it was served already. It takes mu itself.
func (g *Gate[K]) withdraw(w *waiter[K]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.over {
		return false
	}
	w.over = true
	g.waiting--
	g.unwant(w)
	return true
}

func (g *Gate[K]) unwant(w *waiter[K]) {
	if list := slices.DeleteFunc(g.wanted[w.key], func(x *waiter[K]) bool { return x == w }); len(list) > 0 {
		g.wanted[w.key] = list
	} else {
		delete(g.wanted, w.key)
	}
}

// note counts a turn of a client.
func (g *Gate[K]) note(address netip.Addr) {
	if n, known := g.had[0][address]; known || len(g.had[0]) < maxClients {
		g.had[0][address] = n + 1
	}
}

// age forgets old turns.
func (g *Gate[K]) age() {
	if now := g.now(); now.Sub(g.began) >= memory {
		if g.had[1] = g.had[0]; now.Sub(g.began) >= 2*memory {
			g.had[1] = map[netip.Addr]int{}
		}
		g.had[0], g.began = map[netip.Addr]int{}, now
	}
}
