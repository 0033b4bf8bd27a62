package hub

import "github.com/sluicehq/sluice/broker/rank"

// connections are the connections of one shard. Safe for concurrent use.
type connections struct {
	mu   rank.Mutex[rank.Clients]
	byID map[string]*Client // by socket id
}

func (s *connections) add(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]*Client{}
	}
	s.byID[c.id] = c
}

func (s *connections) remove(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, c.id)
}

// find returns the connection with this socket id, or nil.
func (s *connections) find(id string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// list appends the connections.
func (s *connections) list(into []*Client) []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byID {
		into = append(into, c)
	}
	return into
}

// everybody lists all connections.
func (h *Hub) everybody() (all []*Client) {
	for i := range h.connections {
		all = h.connections[i].list(all)
	}
	return all
}
