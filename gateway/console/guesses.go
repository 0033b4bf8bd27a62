package console

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// addressGuesses and allGuesses are how many wrong tokens are answered as such in a second, of
	// one address and of everybody together.
	addressGuesses, allGuesses = 5, 20
	// network6 is what one subscriber of a provider has at least, so it counts as one address.
	network6 = 64
)

// guesses counts wrong tokens. It is asked only about those: whoever has the right one is let in,
// whatever others try at the same time.
type guesses struct {
	now func() time.Time

	mu    sync.Mutex
	began time.Time
	all   int
	// by has at most allGuesses addresses, those of the second that began then.
	by map[netip.Addr]int
}

// wrong counts a wrong token of an address, host:port, and tells whether there were too many in
// this second.
func (g *guesses) wrong(address string) (tooMany bool) {
	var from netip.Addr // the zero one is everybody whose address is not known
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
