package cluster

import (
	"sync"

	"github.com/sluicehq/sluice/broker"
)

// publications counts the publications of a feed.
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

// Heard counts ephemeral events, which are not in the log, together with the others.
func (p *publications) Heard(e *broker.Publication) { p.Publication(e) }

func (p *publications) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
