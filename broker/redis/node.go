package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/rank"
)

// node is a connection that receives live messages from one server.
type node struct {
	addr string
	// ready is closed when client or failed is set.
	ready  chan struct{}
	failed error
	client rueidis.DedicatedClient
	begun  time.Time // zero if it never worked
	cancel func()

	// order is read-locked while channels are subscribed and write-locked while channels are unsubscribed, so
	// that neither undoes the other.
	order rank.RWMutex[rank.RedisOrder]
}

// nodeAt returns the connection to a server and makes one if there is none. Connecting may take long, so the
// lock, which every message needs, is not held meanwhile.
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
		if p := s.pauses[addr]; time.Now().Before(p.until) {
			s.mu.Unlock()
			return nil, p.err
		}
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

// serve connects, and then waits for the end of the connection or of the log.
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
	if err := s.greet(n); err != nil {
		n.failed = err
		s.drop(n, err)
		close(n.ready)
		return
	}
	n.begun = time.Now()
	close(n.ready)
	var err error
	select {
	case err = <-end:
	case <-s.log.ctx.Done():
	}
	s.drop(n, s.log.at(n.addr, err))
}

// greet checks that the connection works, and returns the reason if it does not.
func (s *subscriptions) greet(n *node) error {
	ctx, cancel := context.WithTimeout(s.log.ctx, dialTimeout)
	defer cancel()
	err := n.client.Do(ctx, n.client.B().Ping().Build()).Error()
	if err == nil {
		return nil
	}
	if _, answered := rueidis.IsRedisErr(err); !answered {
		if said := s.log.greeting(ctx, n.addr); said != "" {
			err = fmt.Errorf("%w (%w)", greeted(said), err)
		}
	}
	return s.log.at(n.addr, err)
}

// ended handles a subscription that the server ended although it is wanted: its slot moved to another server.
// It may move back before the next request for the slots.
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

// leave closes the connection to a server if there is one.
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
			s.drop(n, s.log.at(n.addr, errReplica))
		}
	default: // it is being made just now
	}
}

// Pause between attempts to connect to a server that refuses. It doubles each time.
const (
	pauseShortest = 100 * time.Millisecond
	pauseLongest  = 2 * time.Second
)

// pause is a delay before the next attempt to connect to a server, with its cause.
type pause struct {
	err    error
	until  time.Time
	length time.Duration
}

// hold starts a pause if a connection could not be made or broke soon, and makes sure that it is made again.
// The caller holds the lock.
func (s *subscriptions) hold(n *node, err error) {
	if !n.begun.IsZero() && time.Since(n.begun) > pauseLongest {
		delete(s.pauses, n.addr)
		s.poke()
		return
	}
	if err == nil {
		err = s.log.at(n.addr, errEnded)
	}
	length := min(max(2*s.pauses[n.addr].length, pauseShortest), pauseLongest)
	wait := length/2 + rand.N(length)
	s.pauses[n.addr] = pause{err: err, until: time.Now().Add(wait), length: length}
	time.AfterFunc(wait, s.poke)
}

var errEnded = errors.New("the connection ended")

// drop removes a broken connection. err is the reason, nil if it is unknown.
func (s *subscriptions) drop(n *node, err error) {
	s.mu.Lock()
	first := s.nodes[n.addr] == n && !s.closed
	if s.nodes[n.addr] == n {
		delete(s.nodes, n.addr)
	}
	for _, sub := range s.all {
		if sub.node == n {
			sub.node = nil
		}
	}
	if first {
		s.hold(n, err)
	}
	s.mu.Unlock()
	n.client.Close()
	n.cancel()
	if first {
		s.log.lines.Warn(s.log.opt.Logger, n.addr, "connection for live messages lost", "server", n.addr, "error", err)
	}
}
