package streams

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// inTransit is how many live messages may be on their way into a queue. It is emptied by a
// goroutine that waits for nobody.
const inTransit = 1024

// feedShard applies the live messages of a part of the channels. All its subscriptions share
// one Go channel: a goroutine and a queue per channel would cost ten times the memory. What
// comes in it goes into a queue that is bounded in bytes as well.
type feedShard struct {
	log    *Log
	number int
	in     chan *nats.Msg
	queue  *follow.Queue[live]
}

// live is a live message for a follower.
type live struct {
	follower *follower
	msg      *nats.Msg
}

func newFeedShard(l *Log, number int) *feedShard {
	return &feedShard{log: l, number: number, in: make(chan *nats.Msg, inTransit), queue: follow.NewQueue[live](l.opt.FeedQueue, l.opt.FeedBytes)}
}

// take puts what comes into the queue until the log is closed. It must not wait for sinks:
// behind it are all channels of the shard.
func (s *feedShard) take(in chan *nats.Msg) {
	for {
		select {
		case <-s.log.ctx.Done():
			return
		case m := <-in:
			s.log.stats.Live.Add(1)
			f := s.log.follow.Find(s.number, m.Subject)
			if f != nil && !s.queue.Put(live{f.Line().(*follower), m}, m.Size()) {
				s.log.stats.Slow.Add(1)
				s.log.trigger()
			}
		}
	}
}

// run applies what waits until the log is closed.
func (s *feedShard) run() {
	for {
		batch, open := s.queue.Take(s.log.ctx.Done())
		if !open {
			return
		}
		for i := range batch {
			batch[i].Value.follower.receive(batch[i].Value.msg)
			s.queue.Done(&batch[i])
		}
	}
}

// disturbed puts what tests do to live messages between the subscriptions and the queue.
func (s *feedShard) disturbed(disturb func(m *nats.Msg, deliver func(*nats.Msg))) (in chan *nats.Msg) {
	in = make(chan *nats.Msg, inTransit)
	deliver := func(m *nats.Msg) {
		select {
		case in <- m:
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
	return in
}

// newFeed returns what follows channels once the log is open.
func (l *Log) newFeed() *follow.Feed[arrival] {
	return follow.NewFeed(follow.Options[arrival]{
		Context: l.ctx, Go: l.running.Go, Line: l.line, Shards: l.opt.FeedShards, Repairs: l.repairs,
		RepairTimeout: l.opt.RepairTimeout, Connected: func() bool { return l.read.connected() }, Wake: l.trigger,
	}, &l.stats)
}

// startFeed makes the shards of the feed.
func (l *Log) startFeed() {
	for i := range l.opt.FeedShards {
		s := newFeedShard(l, i)
		l.shards = append(l.shards, s)
		in := s.in
		if l.opt.Disturb != nil {
			in = s.disturbed(l.opt.Disturb)
		}
		l.running.Go(func() { s.take(in) })
		l.running.Go(s.run)
	}
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
