package console

import (
	"sync"
	"sync/atomic"
	"time"
)

// freshFor is how long a look at all channels, or at all connections, is good for, so that
// several pages cost no more than one.
const freshFor = 900 * time.Millisecond

// staleAfter is the age beyond which an earlier look is no use for a rate.
const staleAfter = 30 * time.Second

type channelKey struct{ app, name string }

// sampler looks at the gateway, at most once in a while, when somebody asks.
type sampler struct {
	gateway Gateway
	// skipped counts the publications that pages were too slow for.
	skipped atomic.Uint64

	mu sync.Mutex
	// channels are as of a moment, before what was published up to the look before that.
	channels []Channel
	at       time.Time
	before   map[channelKey]uint64

	connections []Connection
	connectedAt time.Time
}

// lookAtChannels returns all channels with their rates. Nobody may change them.
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

// lookAtConnections returns all connections. Nobody may change them.
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

// forget lets go of what was seen, when nobody looks any more.
func (s *sampler) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels, s.before, s.connections = nil, nil, nil
}
