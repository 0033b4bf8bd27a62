package console

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// addressGuesses and allGuesses are how many wrong tokens are answered as such per second, from one address
	// and from all addresses.
	addressGuesses, allGuesses = 5, 20
	// network6 is the prefix length of an IPv6 network that counts as one address, because each subscriber has
	// at least one such network.
	network6 = 64
)

// guesses rate-limits wrong tokens. A right token is always accepted, whatever others try at the same time.
type guesses struct {
	now func() time.Time

	mu    sync.Mutex
	began time.Time
	all   int
	// by counts by address in the second since began. It has at most allGuesses addresses.
	by map[netip.Addr]int
}

// wrong counts a wrong token from an address, host:port, and reports whether there were too many in this second.
func (g *guesses) wrong(address string) (tooMany bool) {
	var from netip.Addr // the zero address stands for unknown addresses
	if at, err := netip.ParseAddrPort(address); err == nil {
		from = at.Addr().Unmap().WithZone("")
		if from.Is6() {
			net, _ := from.Prefix(network6)
			from = net.Addr()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.now(); now.Sub(g.began) >= time.Second || now.Before(g.began) {
		g.began, g.all = now, 0
		g.by = map[netip.Addr]int{}
	}
	if g.all >= allGuesses || g.by[from] >= addressGuesses {
		return true
	}
	g.all++
	g.by[from]++
	return false
}
