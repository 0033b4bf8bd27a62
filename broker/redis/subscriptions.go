package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker/rank"
)

// subscriptions keeps the live channels of this process subscribed, on one connection to the server, or to
// each master of a cluster. If a connection breaks or a slot moves, it subscribes again and reports that
// messages may have been missed.
type subscriptions struct {
	log *Log
	// lost is called when messages may have been missed.
	lost func()

	mu    rank.Mutex[rank.RedisSubscriptions]
	all   map[string]*subscription
	nodes map[string]*node // by address; the only one has the empty one
	slots [16384]string    // address by slot, on a cluster
	// dead holds channels that a server may still send although nobody wants them.
	dead   map[string]*node
	pauses map[string]pause // by address, after failures
	closed bool
	wake   chan struct{}
}

// subscription is the subscription of one live channel.
type subscription struct {
	channel string
	receive func(message string)
	// joined, if not nil, is called after the first subscription.
	joined func()
	// node is the connection on which the channel is subscribed, nil if there is none.
	node *node
	// times is how often a server has confirmed the subscription.
	times int
}

func newSubscriptions(l *Log) *subscriptions {
	return &subscriptions{
		log: l, lost: l.broken, all: map[string]*subscription{}, nodes: map[string]*node{},
		dead: map[string]*node{}, pauses: map[string]pause{}, wake: make(chan struct{}, 1),
	}
}

func (s *subscriptions) start(ctx context.Context) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	s.log.running.Go(s.run)
	return nil
}

// run restores missing subscriptions until the log is closed.
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

func (s *subscriptions) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscriptions) receive(m rueidis.PubSubMessage) {
	s.mu.Lock()
	sub := s.all[m.Channel]
	s.mu.Unlock()
	if sub != nil {
		sub.receive(m.Message)
	}
}

// subscribe subscribes to a channel and returns when the server has confirmed it.
func (s *subscriptions) subscribe(ctx context.Context, channel string, receive func(message string)) (*subscription, error) {
	sub := &subscription{channel: channel, receive: receive}
	s.mu.Lock()
	s.all[channel] = sub
	addr := s.home(channel)
	s.mu.Unlock()
	err := s.place(ctx, addr, []*subscription{sub})
	if err != nil {
		s.end(sub)
		s.poke()
	}
	return sub, err
}

// follow subscribes to a channel, now or as soon as the server can be reached. It then calls joined, because
// earlier messages were missed.
func (s *subscriptions) follow(channel string, receive func(message string), joined func()) *subscription {
	sub := &subscription{channel: channel, receive: receive, joined: joined}
	s.mu.Lock()
	s.all[channel] = sub
	s.mu.Unlock()
	s.poke()
	return sub
}

// place subscribes channels on the connection to a server.
func (s *subscriptions) place(ctx context.Context, addr string, subs []*subscription) error {
	n, err := s.nodeAt(ctx, addr)
	if err != nil {
		return err
	}
	n.order.RLock()
	defer n.order.RUnlock()
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
			s.misplaced(ctx, n, subs, err)
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range subs {
		sub.times++
		if s.all[sub.channel] != sub {
			s.dead[sub.channel] = n // it was ended meanwhile
		}
	}
	return nil
}

// misplaced undoes what place recorded.
func (s *subscriptions) misplaced(ctx context.Context, n *node, subs []*subscription, err error) {
	s.mu.Lock()
	for _, sub := range subs {
		sub.node = nil
		// The server may have subscribed it nevertheless.
		s.dead[sub.channel] = n
	}
	s.mu.Unlock()
	// A caller that stops waiting must not break the connection for others. Whether it lives is checked by
	// the client library, which pings the server.
	if _, answered := rueidis.IsRedisErr(err); !answered && ctx.Err() == nil {
		s.drop(n, s.log.at(n.addr, err))
	}
}

// end ends a subscription, unless the channel was subscribed again since. The server is told later, by reap.
// It may be called repeatedly.
func (s *subscriptions) end(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[sub.channel] != sub {
		return
	}
	if sub.node != nil {
		s.dead[sub.channel] = sub.node
	}
	delete(s.all, sub.channel)
}

// reap unsubscribes the dead channels at their servers.
func (s *subscriptions) reap(ctx context.Context) {
	s.mu.Lock()
	dead := map[*node][]string{}
	for channel, n := range s.dead {
		dead[n] = append(dead[n], channel)
	}
	s.dead = map[string]*node{}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for n, channels := range dead {
		wg.Go(func() { s.reapAt(ctx, n, channels) })
	}
	wg.Wait()
}

func (s *subscriptions) reapAt(ctx context.Context, n *node, channels []string) {
	n.order.Lock()
	defer n.order.Unlock()
	var commands rueidis.Commands
	s.mu.Lock()
	if s.nodes[n.addr] != n {
		channels = nil // its connection is gone
	}
	for _, channel := range channels {
		switch sub := s.all[channel]; {
		case sub != nil && (sub.node == n || sub.node == nil):
			// The channel is wanted again.
		case s.log.opt.Cluster:
			commands = append(commands, n.client.B().Sunsubscribe().Channel(channel).Build())
		default:
			commands = append(commands, n.client.B().Unsubscribe().Channel(channel).Build())
		}
	}
	s.mu.Unlock()
	n.client.DoMulti(ctx, commands...)
}

// resubscribeBatch is how many channels are subscribed at a time.
const resubscribeBatch = 512

// mend subscribes channels that are not subscribed, or whose slot has moved.
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
	type outcome struct {
		placed []*subscription
		err    error
	}
	outcomes := make(chan outcome, len(missing))
	for addr, subs := range missing {
		go func() {
			placed, err := s.placeAll(ctx, addr, subs)
			outcomes <- outcome{placed, err}
		}()
	}
	var failed error
	var placed []*subscription
	for range missing {
		o := <-outcomes
		placed = append(placed, o.placed...)
		if o.err != nil {
			failed = o.err
		}
	}
	s.tell(placed)
	return failed
}

// tell reports newly subscribed channels. At a first subscription only its own joined is called. If a channel
// is subscribed again, a server was away, so lost is called once for all.
func (s *subscriptions) tell(placed []*subscription) {
	again := false
	var joined []func()
	s.mu.Lock()
	for _, sub := range placed {
		switch {
		case sub.times > 1:
			again = true
		case sub.joined != nil:
			joined = append(joined, sub.joined)
		}
	}
	s.mu.Unlock()
	for _, tell := range joined {
		tell()
	}
	if again {
		s.lost()
	}
}

// placeAll subscribes any number of channels at a server, and returns those that succeeded.
func (s *subscriptions) placeAll(ctx context.Context, addr string, subs []*subscription) (placed []*subscription, err error) {
	for part := range slices.Chunk(subs, resubscribeBatch) {
		if err := s.place(ctx, addr, part); err != nil {
			return placed, err
		}
		placed = append(placed, part...)
	}
	return placed, nil
}

func (s *subscriptions) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}
