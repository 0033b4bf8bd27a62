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
	// staleAfter is how long an attach may take until it is no load of this machine any
	// more but waits for a log that is slow; its place is then for the next one.
	staleAfter = 50 * time.Millisecond
	// many is up to how many turns a client has had lately to be a newcomer, and how
	// many a connection may have until the rate of all such counts.
	many = 32
	// memory is how long turns are remembered at least, and maxClients of how many
	// clients at most.
	memory, maxClients = 5 * time.Second, 16_384
)

// The kinds of those who wait: clients that had few turns lately, all others, and
// connections that had many turns, for which there is a rate.
const (
	newcomer = iota
	regular
	heavy
	kinds
)

// strides say how often each kind is served while others wait: the smaller, the more often.
var strides = [kinds]uint64{1, 3, 3}

// Gate bounds how many channels are being attached at a time: each costs messages to the
// log and readings of it. Who waits is served in turns by clients, which are known by their
// addresses, so that one who asks for thousands waits for himself. Who has asked for little
// lately goes first, but not always. A connection waits for one channel at a time, so what
// waits is bounded by the connections, and within a client they take turns too.
//
// Places alone would let a few connections keep this machine busy for ever. So those that
// have had many turns have a rate together, after a burst of four seconds of it: clients that
// come back, however many, have few channels each that nobody else is in.
type Gate[K comparable] struct {
	// Stale is how long an attach may take until it is no load of this machine any more. It
	// may be set before the gate is used.
	Stale time.Duration

	places int
	rate   *rate.Limiter // nil for no bound
	now    func() time.Time

	mu rank.Mutex[rank.Gate]
	// used counts the attaches that are under way and not stale.
	used, waiting int
	clients       map[applicantKey]*applicant[K]
	// turns are the clients that wait, by kind; passes are the kinds' places in their
	// order, pass that of the kind that was served last.
	turns  [kinds][]*applicant[K]
	passes [kinds]uint64
	pass   uint64
	// refill is set while a timer waits for the rate.
	refill bool
	// wanted are those who wait for a channel, which may be attached for another one.
	wanted map[K][]*waiter[K]
	// had counts the turns of clients, in this span of time and the one before.
	had   [2]map[netip.Addr]int
	began time.Time
}

// Asker is a connection to which channels are attached.
type Asker struct {
	// Address is what counts as one client.
	Address netip.Addr
	turns   int
}

// AskerAt is one whose connection comes from an address with a port, by the network of it that counts. Whose
// address cannot be read is one with all others like him.
func AskerAt(address string, network func(netip.Addr) netip.Addr) (by Asker) {
	if at, err := netip.ParseAddrPort(address); err == nil {
		by.Address = network(at.Addr())
	}
	return by
}

// applicantKey is a client. Its connections that had many turns are one of their own.
type applicantKey struct {
	address netip.Addr
	heavy   bool
}

// applicant is a client for which somebody waits.
type applicant[K comparable] struct {
	applicantKey
	waiters []*waiter[K]
}

type waiter[K comparable] struct {
	key K
	// served is closed when the turn has come, or when the channel is there; place says
	// that it is a turn. Both and over belong to the gate's lock.
	served      chan struct{}
	place, over bool
}

// Place is a turn to attach a channel. [Place.End] must be called.
type Place[K comparable] struct {
	gate  *Gate[K]
	stale *time.Timer
	freed bool // belongs to the gate's lock
}

// New returns a gate with that many places; perSecond bounds what connections with many turns get, 0 for no
// bound.
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

// Enter waits for the turn of a connection to attach a channel. It returns nil if the channel
// was attached for somebody else meanwhile. The only error is that of the context.
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

// Coming lets those go on who wait for a channel that is being attached now.
func (g *Gate[K]) Coming(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.wanted[key] {
		g.finish(w)
	}
	delete(g.wanted, key)
}

// Size is the number of those who wait.
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

// line puts a client behind those of its kind.
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

// serve gives places to those who wait.
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

// next takes the client whose turn it is.
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

// affords tells whether the rate allows another turn, and otherwise sees to it that those
// who wait are served when it does. The real clock counts, which is what they wait for.
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

// first takes the first of a client who still waits, nil if nobody does.
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

// withdraw takes somebody out of those who wait, and reports false if he was served.
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

// age forgets turns that were long ago.
func (g *Gate[K]) age() {
	if now := g.now(); now.Sub(g.began) >= memory {
		if g.had[1] = g.had[0]; now.Sub(g.began) >= 2*memory {
			g.had[1] = map[netip.Addr]int{}
		}
		g.had[0], g.began = map[netip.Addr]int{}, now
	}
}
