package streams

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// inTransit is the capacity of the Go channel of a shard. The library reads at most some hundreds of messages before they
// are taken out.
const inTransit = 4096

// feedShard receives the live messages of a part of the channels. All its subscriptions share one Go channel, because a
// goroutine and a queue for each would take ten times the memory. Messages move from it into a queue that is also bounded
// in bytes.
type feedShard struct {
	log    *Log
	number int
	in     chan *nats.Msg
	queue  *follow.Queue[live]
	relay  *relay
}

// live is a live message for a follower.
type live struct {
	follower *follower
	msg      *nats.Msg
	// cast says that the event is ephemeral.
	cast bool
}

// enter puts a message into the queue, and returns the follower of its channel, nil if there is none. It does not block.
func (s *feedShard) enter(m *nats.Msg) *follow.Follower[arrival] {
	s.log.stats.Live.Add(1)
	f := s.log.follow.Find(s.number, m.Subject)
	if f == nil {
		return nil
	}
	if to := f.Line().(*follower); !s.queue.Put(live{to, m, false}, m.Size()) {
		s.log.stats.Slow.Add(1)
		s.log.lacks(to.app)
	}
	return f
}

// disturbed inserts the function of a test between the subscriptions and the queue.
func (s *feedShard) disturbed(disturb func(m *nats.Msg, deliver func(*nats.Msg)), in chan<- *nats.Msg) {
	deliver := func(m *nats.Msg) {
		select {
		case in <- m:
			s.relay.poke()
		case <-s.log.ctx.Done():
		}
	}
	s.log.running.Go(func() {
		for {
			select {
			case <-s.log.ctx.Done():
				return
			case m := <-s.in:
				disturb(m, deliver)
			}
		}
	})
}

// newFeed returns the feed, which works once the log is open.
func (l *Log) newFeed() *follow.Feed[arrival] {
	return follow.NewFeed(follow.Options[arrival]{
		Context: l.ctx, Go: l.running.Go, Line: l.line, Shards: l.opt.FeedShards, Repairs: l.repairs,
		RepairTimeout: l.opt.RepairTimeout, AttachTimeout: follow.AttachTimeout(l.opt.PublishTimeout), Connected: func() bool { return l.read.connected() },
		Passed: func(shard int) (put, done uint64) { return l.queues.Passed(shard) },
		Logger: l.opt.Logger, Wake: l.trigger,
	}, &l.stats)
}

// startFeed creates and starts the shards of the feed.
func (l *Log) startFeed() {
	l.queues = follow.NewQueues[live](l.opt.FeedShards, l.opt.FeedQueue, l.opt.FeedBytes)
	l.casts = casts{log: l, in: make(chan *nats.Msg, inTransit), parts: map[string]*castAudience{}}
	for i, queue := range l.queues {
		s := &feedShard{log: l, number: i, in: make(chan *nats.Msg, inTransit), queue: queue}
		l.shards = append(l.shards, s)
		in := s.in
		if l.opt.Disturb != nil {
			in = make(chan *nats.Msg, inTransit)
		}
		s.relay = newRelay(s, in)
		if l.opt.Disturb != nil {
			s.disturbed(l.opt.Disturb, in)
		}
		l.running.Go(s.relay.run)
	}
	l.feed.whenRead(func() {
		l.casts.arrived()
		for _, s := range l.shards {
			s.relay.arrived()
		}
		// Acknowledgements come last: events that were just delivered need not be looked up.
		l.send.arrived()
	})
}

func (l *Log) followers(a *appLog) []*follower { return linesOf(l.follow.Of(a.opt.ID)) }

func linesOf(all []*follow.Follower[arrival]) []*follower {
	out := make([]*follower, len(all))
	for i, f := range all {
		out[i] = f.Line().(*follower)
	}
	return out
}

// Attach implements [broker.Feed].
func (l *Log) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if _, err := l.app(app); err != nil {
		return nil, err
	}
	return l.follow.Attach(ctx, app, channel, liveSubject(l.opt.Prefix, app, channel), sink)
}
