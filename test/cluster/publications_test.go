package cluster

import (
	"sync"

	"github.com/sluicehq/sluice/broker"
)

// publications counts what a feed gives.
type publications struct {
	mu sync.Mutex
	n  int
}

// Publication implements [broker.Sink].
func (p *publications) Publication(*broker.Publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
}

// Gap implements [broker.Sink].
func (p *publications) Gap(broker.Gap) {}

func (p *publications) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
