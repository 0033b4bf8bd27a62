package hub

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicehq/sluice/broker/rank"
)

const (
	// gateStale is how long an attach may take until it is no load of this machine any
	// more but waits for a log that is slow; its place is then for the next one.
	gateStale = 50 * time.Millisecond
	// gateNew is up to how many turns a client has had lately to be a newcomer, and how
	// many a connection may have until the rate of all such counts.
	gateNew = 32
	// gateMemory is how long turns are remembered at least, and gateClients of how many
	// clients at most.
	gateMemory, gateClients = 5 * time.Second, 16_384
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

// errBusy: the turn to attach a channel did not come in time.
var errBusy = errors.New("hub: too many channels are being attached")

// gate bounds how many channels are being attached at a time: each costs messages to the
// log and readings of it. Who waits is served in turns by clients, which are known by their
// addresses, so that one who asks for thousands waits for himself. Who has asked for little
// lately goes first, but not always. A connection waits for one channel at a time, so what
// waits is bounded by the connections, and within a client they take turns too.
//
// Places alone would let a few connections keep this machine busy for ever. So those that
// have had many turns have a rate together, after a burst of four seconds of it: clients that
// come back, however many, have few channels each that nobody else is in.
type gate struct {
	places int
	stale  time.Duration
	rate   *rate.Limiter // nil for no bound
	now    func() time.Time

	mu rank.Mutex[rank.Gate]
	// used counts the attaches that are under way and not stale.
	used, waiting int
	clients       map[applicantKey]*applicant
	// turns are the clients that wait, by kind; passes are the kinds' places in their
	// order, pass that of the kind that was served last.
	turns  [kinds][]*applicant
	passes [kinds]uint64
	pass   uint64
	// refill is set while a timer waits for the rate.
	refill bool
	// wanted are those who wait for a channel, which may be attached for another one.
	wanted map[channelKey][]*waiter
	// had counts the turns of clients, in this span of time and the one before.
	had   [2]map[netip.Addr]int
	began time.Time
}

// asker is a connection to which channels are attached.
type asker struct {
	address netip.Addr // what counts as one client
	turns   int
}

// applicantKey is a client. Its connections that had many turns are one of their own.
type applicantKey struct {
	address netip.Addr
	heavy   bool
}

// applicant is a client for which somebody waits.
type applicant struct {
	applicantKey
	waiters []*waiter
}

type waiter struct {
	key    channelKey
	client *applicant
	// served is closed when the turn has come, or when the channel is there; place says
	// that it is a turn. Both and over belong to the gate's lock.
	served      chan struct{}
	place, over bool
}

// place is a turn to attach a channel. End must be called.
type place struct {
	gate  *gate
	stale *time.Timer
	freed bool // belongs to the gate's lock
}

// newGate returns a gate; perSecond bounds what connections with many turns get, 0 for no
// bound.
func newGate(places, perSecond int, now func() time.Time) *gate {
	g := &gate{
		places: places, stale: gateStale, now: now, clients: map[applicantKey]*applicant{}, wanted: map[channelKey][]*waiter{},
		had: [2]map[netip.Addr]int{{}, {}}, began: now(),
	}
	if perSecond > 0 {
		g.rate = rate.NewLimiter(rate.Limit(perSecond), 4*perSecond)
	}
	return g
}

// enter waits for the turn of a connection to attach a channel. It returns nil if the channel
// was attached for somebody else meanwhile. The only error is that of the context.
func (g *gate) enter(ctx context.Context, by *asker, key channelKey) (*place, error) {
	w := &waiter{key: key, served: make(chan struct{})}
	g.mu.Lock()
	g.queue(w, applicantKey{by.address, by.turns >= gateNew && g.rate != nil})
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
	p := &place{gate: g}
	p.stale = time.AfterFunc(g.stale, p.free)
	return p, nil
}

// end gives the place back.
func (p *place) end() {
	p.stale.Stop()
	p.free()
}

func (p *place) free() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if !p.freed {
		p.freed = true
		p.gate.used--
		p.gate.serve()
	}
}

// coming lets those go on who wait for a channel that is being attached now.
func (g *gate) coming(key channelKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.wanted[key] {
		g.finish(w)
	}
	delete(g.wanted, key)
}

// size is the number of those who wait.
func (g *gate) size() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.waiting)
}

func (g *gate) queue(w *waiter, of applicantKey) {
	c := g.clients[of]
	if c == nil {
		c = &applicant{applicantKey: of}
		g.clients[of] = c
		g.line(c)
	}
	w.client = c
	c.waiters = append(c.waiters, w)
	g.wanted[w.key] = append(g.wanted[w.key], w)
	g.waiting++
}

// line puts a client behind those of its kind.
func (g *gate) line(c *applicant) {
	kind := newcomer
	switch {
	case c.heavy:
		kind = heavy
	case g.had[0][c.address]+g.had[1][c.address] >= gateNew:
		kind = regular
	}
	if len(g.turns[kind]) == 0 {
		g.passes[kind] = max(g.passes[kind], g.pass)
	}
	g.turns[kind] = append(g.turns[kind], c)
}

// serve gives places to those who wait.
func (g *gate) serve() {
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
func (g *gate) next() *applicant {
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
func (g *gate) affords() bool {
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
func (c *applicant) first() *waiter {
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

func (g *gate) finish(w *waiter) {
	w.over = true
	g.waiting--
	close(w.served)
}

// withdraw takes somebody out of those who wait, and reports false if he was served.
func (g *gate) withdraw(w *waiter) bool {
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

func (g *gate) unwant(w *waiter) {
	if list := slices.DeleteFunc(g.wanted[w.key], func(x *waiter) bool { return x == w }); len(list) > 0 {
		g.wanted[w.key] = list
	} else {
		delete(g.wanted, w.key)
	}
}

// note counts a turn of a client.
func (g *gate) note(address netip.Addr) {
	if n, known := g.had[0][address]; known || len(g.had[0]) < gateClients {
		g.had[0][address] = n + 1
	}
}

// age forgets turns that were long ago.
func (g *gate) age() {
	if now := g.now(); now.Sub(g.began) >= gateMemory {
		if g.had[1] = g.had[0]; now.Sub(g.began) >= 2*gateMemory {
			g.had[1] = map[netip.Addr]int{}
		}
		g.had[0], g.began = map[netip.Addr]int{}, now
	}
}
