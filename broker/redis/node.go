package redis

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/rueidis"
)

// node is a connection that receives.
type node struct {
	addr string
	// ready is closed when client is set, or failed.
	ready  chan struct{}
	failed error
	client rueidis.DedicatedClient
	cancel func()

	// order is held for reading by who subscribes, for writing by who
	// unsubscribes, so that the one never undoes the other.
	order sync.RWMutex
}

// nodeAt returns the connection to a server, a new one if there is none. Connecting may
// take long, so it is done without the lock, which every message needs.
func (s *subscriptions) nodeAt(ctx context.Context, addr string) (*node, error) {
	if addr == "" && s.log.opt.Cluster {
		return nil, errUncovered
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, rueidis.ErrClosing
	}
	n := s.nodes[addr]
	if n == nil {
		n = &node{addr: addr, ready: make(chan struct{})}
		s.nodes[addr] = n
		s.log.running.Go(func() { s.serve(n) })
	}
	s.mu.Unlock()
	select {
	case <-n.ready:
		return n, n.failed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve connects, and waits for the end of the connection or of the log.
func (s *subscriptions) serve(n *node) {
	client := s.log.read
	if n.addr != "" {
		client = s.log.read.Nodes()[n.addr]
	}
	if client == nil {
		n.failed = fmt.Errorf("no connection to the server %s yet", n.addr)
		s.mu.Lock()
		delete(s.nodes, n.addr)
		s.mu.Unlock()
		close(n.ready)
		return
	}
	n.client, n.cancel = client.Dedicate()
	end := n.client.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage:      s.receive,
		OnSubscription: func(change rueidis.PubSubSubscription) { s.ended(n, change) },
	})
	close(n.ready)
	select {
	case <-end:
	case <-s.log.ctx.Done():
	}
	s.drop(n)
}

// ended notes that a server ended a subscription that is wanted: a slot went to another
// server. It may come back before anybody has asked who has it.
func (s *subscriptions) ended(n *node, change rueidis.PubSubSubscription) {
	if change.Kind != "sunsubscribe" {
		return
	}
	s.mu.Lock()
	sub := s.all[change.Channel]
	wanted := sub != nil && sub.node == n
	if wanted {
		sub.node = nil
	}
	s.mu.Unlock()
	if wanted {
		s.poke()
	}
}

// leave ends the connection to a server if there is one.
func (s *subscriptions) leave(addr string) {
	s.mu.Lock()
	n := s.nodes[addr]
	s.mu.Unlock()
	if n == nil {
		return
	}
	select {
	case <-n.ready:
		if n.failed == nil {
			s.drop(n)
		}
	default: // it is only now being made
	}
}

// drop forgets a connection that is broken.
func (s *subscriptions) drop(n *node) {
	s.mu.Lock()
	if s.nodes[n.addr] == n {
		delete(s.nodes, n.addr)
	}
	for _, sub := range s.all {
		if sub.node == n {
			sub.node = nil
		}
	}
	closed := s.closed
	s.mu.Unlock()
	n.client.Close()
	n.cancel()
	if !closed {
		s.log.opt.Logger.Warn("connection for live messages lost", "server", n.addr)
		s.poke()
	}
}
