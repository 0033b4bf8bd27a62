package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// subscriptions keeps the live channels of this process subscribed, on one connection
// to the server, or to each master of a cluster. When a connection breaks or a slot
// moves, it subscribes anew and says that messages may have been missed.
type subscriptions struct {
	log *Log
	// lost is called when messages may have been missed.
	lost func()

	mu    sync.Mutex
	all   map[string]*subscription
	nodes map[string]*node // by address; the only one has the empty one
	slots [16384]string    // address by slot, on a cluster
	// dead are channels that a server still sends and nobody wants.
	dead   map[string]*node
	closed bool
	wake   chan struct{}

	// order is held by who subscribes, for writing by who unsubscribes, so that
	// the one never undoes the other.
	order sync.RWMutex
}

// subscription is one live channel.
type subscription struct {
	channel string
	receive func(message string)
	// node is where it is subscribed, nil while it is nowhere.
	node *node
}

// node is a connection that receives.
type node struct {
	addr   string
	client rueidis.DedicatedClient
	cancel func()
	broken chan struct{}
}

func newSubscriptions(l *Log) *subscriptions {
	return &subscriptions{
		log: l, lost: l.trigger, all: map[string]*subscription{}, nodes: map[string]*node{},
		dead: map[string]*node{}, wake: make(chan struct{}, 1),
	}
}

func (s *subscriptions) start(ctx context.Context) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	s.log.running.Go(s.run)
	return nil
}

// run mends what is broken until the log is closed.
func (s *subscriptions) run() {
	check := time.NewTicker(time.Second)
	defer check.Stop()
	for {
		select {
		case <-s.log.ctx.Done():
			return
		case <-s.wake:
		case <-check.C:
		}
		ctx, cancel := context.WithTimeout(s.log.ctx, 5*time.Second)
		err := s.learn(ctx)
		if err == nil {
			err = s.mend(ctx)
		}
		s.reap(ctx)
		cancel()
		if s.log.ctx.Err() == nil {
			s.log.problem("live feed", err)
		}
	}
}

// learn asks a cluster which server has which slot.
func (s *subscriptions) learn(ctx context.Context) error {
	if !s.log.opt.Cluster {
		return nil
	}
	ranges, err := s.log.read.Do(ctx, s.log.read.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return unavailable("asking for the slots of the cluster", err)
	}
	var slots [16384]string
	for _, r := range ranges {
		fields, err := r.ToArray()
		if err != nil || len(fields) < 3 {
			return errors.New("the cluster describes its slots in an unknown form")
		}
		first, err1 := fields[0].AsInt64()
		last, err2 := fields[1].AsInt64()
		master, err3 := fields[2].ToArray()
		if err := errors.Join(err1, err2, err3); err != nil || len(master) < 2 || first < 0 || last > 16383 {
			return errors.New("the cluster describes its slots in an unknown form")
		}
		host, _ := master[0].ToString()
		port, _ := master[1].AsInt64()
		for slot := first; slot <= last; slot++ {
			slots[slot] = net.JoinHostPort(host, strconv.FormatInt(port, 10))
		}
	}
	s.mu.Lock()
	s.slots = slots
	s.mu.Unlock()
	return nil
}

// home is the address of the server that has a channel. The lock is held.
func (s *subscriptions) home(channel string) string {
	if !s.log.opt.Cluster {
		return ""
	}
	return s.slots[slotOf(channel)]
}

// nodeAt returns the connection to a server, a new one if there is none.
func (s *subscriptions) nodeAt(addr string) (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, rueidis.ErrClosing
	}
	if n := s.nodes[addr]; n != nil {
		return n, nil
	}
	client := s.log.read
	if addr != "" {
		if client = s.log.read.Nodes()[addr]; client == nil {
			return nil, fmt.Errorf("no connection to the server %s yet", addr)
		}
	}
	n := &node{addr: addr, broken: make(chan struct{})}
	n.client, n.cancel = client.Dedicate()
	end := n.client.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { s.receive(n, m) }})
	s.nodes[addr] = n
	s.log.running.Go(func() {
		select {
		case <-end:
		case <-s.log.ctx.Done():
		}
		s.drop(n)
	})
	return n, nil
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

func (s *subscriptions) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriptions) receive(n *node, m rueidis.PubSubMessage) {
	s.mu.Lock()
	sub := s.all[m.Channel]
	s.mu.Unlock()
	if sub != nil {
		sub.receive(m.Message)
	}
}

// subscribe begins receiving a channel, and returns when the server has agreed.
func (s *subscriptions) subscribe(ctx context.Context, channel string, receive func(message string)) error {
	sub := &subscription{channel: channel, receive: receive}
	s.mu.Lock()
	s.all[channel] = sub
	addr := s.home(channel)
	s.mu.Unlock()
	err := s.place(ctx, addr, []*subscription{sub})
	if err != nil {
		s.unsubscribe(channel)
		s.poke()
	}
	return err
}

// follow begins receiving a channel, now or as soon as the server can be reached. Then
// it is said that messages may have been missed.
func (s *subscriptions) follow(channel string, receive func(message string)) {
	s.mu.Lock()
	s.all[channel] = &subscription{channel: channel, receive: receive}
	s.mu.Unlock()
	s.poke()
}

// place subscribes channels at a server.
func (s *subscriptions) place(ctx context.Context, addr string, subs []*subscription) error {
	s.order.RLock()
	defer s.order.RUnlock()
	n, err := s.nodeAt(addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, sub := range subs {
		sub.node = n
	}
	s.mu.Unlock()
	var commands rueidis.Commands
	if s.log.opt.Cluster {
		for _, sub := range subs {
			commands = append(commands, n.client.B().Ssubscribe().Channel(sub.channel).Build())
		}
	} else {
		names := make([]string, len(subs))
		for i, sub := range subs {
			names[i] = sub.channel
		}
		commands = append(commands, n.client.B().Subscribe().Channel(names...).Build())
	}
	for _, r := range n.client.DoMulti(ctx, commands...) {
		if err := r.Error(); err != nil {
			if _, answered := rueidis.IsRedisErr(err); !answered {
				s.drop(n)
			} else {
				s.mu.Lock()
				for _, sub := range subs {
					sub.node = nil
				}
				s.mu.Unlock()
			}
			return err
		}
	}
	return nil
}

// unsubscribe ends receiving a channel. The server is told a little later.
func (s *subscriptions) unsubscribe(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.all[channel]; sub != nil && sub.node != nil {
		s.dead[channel] = sub.node
	}
	delete(s.all, channel)
}

// reap tells the servers what nobody wants any more.
func (s *subscriptions) reap(ctx context.Context) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	commands := map[*node]rueidis.Commands{}
	for channel, n := range s.dead {
		if s.all[channel] != nil || s.nodes[n.addr] != n {
			continue
		}
		if s.log.opt.Cluster {
			commands[n] = append(commands[n], n.client.B().Sunsubscribe().Channel(channel).Build())
		} else {
			commands[n] = append(commands[n], n.client.B().Unsubscribe().Channel(channel).Build())
		}
	}
	s.dead = map[string]*node{}
	s.mu.Unlock()
	for n, c := range commands {
		n.client.DoMulti(ctx, c...)
	}
}

// resubscribeBatch is how many channels are asked for at a time.
const resubscribeBatch = 512

// mend subscribes what is subscribed nowhere, or where its slot is no more.
func (s *subscriptions) mend(ctx context.Context) error {
	s.mu.Lock()
	missing := map[string][]*subscription{}
	count := 0
	for _, sub := range s.all {
		if addr := s.home(sub.channel); sub.node == nil || sub.node.addr != addr {
			missing[addr] = append(missing[addr], sub)
			count++
		}
	}
	s.mu.Unlock()
	if count == 0 {
		return nil
	}
	var failed error
	for addr, subs := range missing {
		for len(subs) > 0 {
			part := subs[:min(len(subs), resubscribeBatch)]
			subs = subs[len(part):]
			if err := s.place(ctx, addr, part); err != nil {
				failed = err
				break
			}
		}
	}
	s.lost()
	return failed
}

func (s *subscriptions) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}
