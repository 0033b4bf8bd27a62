package console

import (
	"sync"
	"sync/atomic"
	"time"
)

// freshFor is how long a list of all channels or connections is reused, so that several pages cost no more than
// one.
const freshFor = 900 * time.Millisecond

// staleAfter is the age beyond which an earlier list is not used for rates.
const staleAfter = 30 * time.Second

type channelKey struct{ app, name string }

// sampler caches lists of the gateway, which it makes on request.
type sampler struct {
	gateway Gateway
	// skipped is the number of publications for which pages were too slow.
	skipped atomic.Uint64

	mu sync.Mutex
	// channels is the list as of at, and before has the published counts of that list, for rates.
	channels []Channel
	at       time.Time
	before   map[channelKey]uint64

	connections []Connection
	connectedAt time.Time
}

// lookAtChannels returns all channels with their rates. Callers must not change the list.
func (s *sampler) lookAtChannels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.channels != nil && now.Sub(s.at) < freshFor {
		return s.channels
	}
	passed := now.Sub(s.at)
	all := s.gateway.Channels()
	counts := make(map[channelKey]uint64, len(all))
	for i := range all {
		c := &all[i]
		key := channelKey{c.App, c.Name}
		counts[key] = c.Published
		if was, known := s.before[key]; known && passed < staleAfter && c.Published >= was {
			c.Rate = float64(c.Published-was) / passed.Seconds()
		}
	}
	if all == nil {
		all = []Channel{}
	}
	s.channels, s.before, s.at = all, counts, now
	return all
}

// lookAtConnections returns all connections. Callers must not change the list.
func (s *sampler) lookAtConnections() []Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.connections == nil || now.Sub(s.connectedAt) >= freshFor {
		s.connections, s.connectedAt = s.gateway.Connections(), now
		if s.connections == nil {
			s.connections = []Connection{}
		}
	}
	return s.connections
}

// forget drops the lists when no page is open.
func (s *sampler) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels, s.before, s.connections = nil, nil, nil
}
