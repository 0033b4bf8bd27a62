package streams

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// feedShard applies the live messages of a part of the channels. All its
// subscriptions share one Go channel: a goroutine and a queue per channel would
// cost ten times the memory.
type feedShard struct {
	log *Log
	in  chan *nats.Msg

	mu        sync.Mutex
	followers map[string]*follower // by live subject
	closed    bool
}

func newFeedShard(l *Log, _ int) *feedShard {
	return &feedShard{log: l, in: make(chan *nats.Msg, l.opt.FeedQueue), followers: map[string]*follower{}}
}

func (s *feedShard) run() {
	for {
		select {
		case <-s.log.ctx.Done():
			return
		case m := <-s.in:
			s.log.stats.live.Add(1)
			if s.log.opt.Disturb != nil {
				s.log.opt.Disturb(m, s.deliver)
				continue
			}
			s.deliver(m)
		}
	}
}

func (s *feedShard) deliver(m *nats.Msg) {
	s.mu.Lock()
	f := s.followers[m.Subject]
	s.mu.Unlock()
	if f != nil {
		f.receive(m)
	}
}

var shardSeed = maphash.MakeSeed()

// followerOf returns the follower of a channel for one more user, nil if the log is closed.
// A new one begins by itself: it belongs to all who wait for it, so none of them can break it
// off for the others.
func (l *Log) followerOf(a *appLog, channel string) *follower {
	live := liveSubject(l.opt.Prefix, a.opt.ID, channel)
	s := l.shards[maphash.String(shardSeed, live)%uint64(len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	f := s.followers[live]
	if f == nil {
		f = &follower{
			log: l, app: a, shard: s, channel: channel, live: live,
			subject: publishSubject(l.opt.Prefix, a.opt.ID, channel), begun: make(chan struct{}),
		}
		s.followers[live] = f
		f.users++ // until it has begun
		l.running.Go(func() {
			f.begin(l.ctx)
			s.leave(f)
		})
	}
	f.users++
	return f
}

// leave gives up one use of a follower and ends it with the last one.
func (s *feedShard) leave(f *follower) {
	s.mu.Lock()
	f.users--
	last := f.users == 0
	if last && s.followers[f.live] == f {
		delete(s.followers, f.live)
	}
	s.mu.Unlock()
	if last {
		f.close()
	}
}

func (s *feedShard) closeAll() {
	s.mu.Lock()
	all := make([]*follower, 0, len(s.followers))
	for _, f := range s.followers {
		all = append(all, f)
	}
	s.followers, s.closed = map[string]*follower{}, true
	s.mu.Unlock()
	for _, f := range all {
		f.close()
	}
}

func (l *Log) followers(a *appLog) []*follower {
	var out []*follower
	for _, s := range l.shards {
		s.mu.Lock()
		for _, f := range s.followers {
			if f.app == a {
				out = append(out, f)
			}
		}
		s.mu.Unlock()
	}
	return out
}

// Attach implements [broker.Feed].
func (l *Log) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	a, err := l.app(app)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	f := l.followerOf(a, channel)
	if f == nil {
		return nil, broker.ErrClosed
	}
	select {
	case <-f.begun:
	case <-ctx.Done():
		f.shard.leave(f)
		return nil, ctx.Err()
	}
	if err := f.failed; err != nil || l.ctx.Err() != nil {
		f.shard.leave(f)
		if l.ctx.Err() != nil {
			err = broker.ErrClosed
		}
		return nil, err
	}
	return f.attach(sink), nil
}

// attachment is one sink of a follower.
type attachment struct {
	follower *follower
	sink     broker.Sink
	at       broker.Position
	empty    bool
	once     sync.Once
}

// Empty implements [broker.Emptiness].
func (a *attachment) Empty() bool { return a.empty }

// Position implements [broker.Attachment].
func (a *attachment) Position() broker.Position { return a.at }

// Detach implements [broker.Attachment].
func (a *attachment) Detach() {
	a.once.Do(func() {
		a.follower.detach(a)
		a.follower.shard.leave(a.follower)
	})
}
