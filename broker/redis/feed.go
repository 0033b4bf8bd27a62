package redis

import (
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// maxQueuedBytes bounds what waits for one shard of a feed, unless the options say otherwise,
// or of a table, beside the number of messages. What does not fit is read from the log.
const maxQueuedBytes = 64 << 20

// feedShard applies the live messages of a part of the channels.
type feedShard struct {
	log *Log
	in  chan liveMessage
	// bytes of the entries that wait.
	bytes atomic.Int64

	mu        sync.Mutex
	followers map[string]*follower // by live channel
	closed    bool
}

type liveMessage struct {
	follower *follower
	arrival
}

// arrival is an entry of a channel as it was announced or read.
type arrival struct {
	offset, prev, base uint64
	time               time.Time
	verdict            broker.Verdict
	entry              string
	// overdue is set for one that was announced before the log was read for a
	// repair.
	overdue bool
}

var errNotOurs = errors.New("not a message of this log")

// parseLive reads what the publish script announces.
func parseLive(m string) (a arrival, err error) {
	var numbers [4]uint64
	for i := range numbers {
		word, rest, found := strings.Cut(m, " ")
		if numbers[i], err = strconv.ParseUint(word, 10, 64); err != nil || !found {
			return a, errNotOurs
		}
		m = rest
	}
	if len(m) < 2 || m[1] != ' ' || numbers[0] == 0 {
		return a, errNotOurs
	}
	return arrival{
		offset: numbers[0], prev: numbers[1], base: numbers[2], time: microseconds(numbers[3]),
		verdict: verdictOf(m[0]), entry: m[2:],
	}, nil
}

func microseconds(n uint64) time.Time { return time.UnixMicro(int64(n)).UTC() }

func verdictOf(c byte) broker.Verdict {
	switch c {
	case '1':
		return broker.CountedFull
	case '0':
		return broker.CountedDelta
	}
	return broker.Uncounted
}

// publication makes a publication of an entry. What cannot be read is skipped, with
// the reason, and keeps its place.
func (a *arrival) publication(epoch string, live bool) *broker.Publication {
	p := &broker.Publication{
		Position: broker.Position{Epoch: epoch, Offset: a.offset}, Time: a.time, Verdict: a.verdict,
	}
	if live && a.prev > a.base {
		p.Prev = a.prev
	}
	var err error
	if p.Event, err = decode(a.entry); err != nil {
		p.Event, p.Skipped = broker.Event{Name: broker.DefaultEventName}, err.Error()
	}
	return p
}

func (s *feedShard) run() {
	for {
		select {
		case <-s.log.ctx.Done():
			return
		case m := <-s.in:
			s.log.stats.live.Add(1)
			s.bytes.Add(-int64(len(m.entry)))
			m.follower.receive(m.arrival)
		}
	}
}

// take hands a live message to the shard. It must not wait: behind it are all
// channels of the connection.
func (s *feedShard) take(f *follower, message string) {
	a, err := parseLive(message)
	if err != nil {
		s.log.stats.rejected.Add(1)
		return
	}
	size := int64(len(a.entry))
	if s.bytes.Add(size) <= s.log.opt.FeedBytes {
		select {
		case s.in <- liveMessage{f, a}:
			return
		default:
		}
	}
	s.bytes.Add(-size)
	s.log.stats.slow.Add(1)
	f.missed.Store(true)
	s.log.trigger()
}

var shardSeed = maphash.MakeSeed()

// followerOf returns the follower of a channel for one more user, nil if the log is
// closed. A new one begins by itself: it belongs to all who wait for it, so none of
// them can break it off for the others.
func (l *Log) followerOf(a *appLog, channel string) *follower {
	k := l.keys.channel(a.opt.ID, channel)
	s := l.shards[maphash.String(shardSeed, k.live)%uint64(len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	f := s.followers[k.live]
	if f == nil {
		f = &follower{log: l, app: a, shard: s, channel: channel, keys: k, begun: make(chan struct{})}
		s.followers[k.live] = f
		f.users++ // until it has begun
		l.running.Go(func() {
			f.begin()
			s.leave(f)
		})
	}
	f.users++
	return f
}

// leave gives up one use of a follower and ends it with the last one.
func (s *feedShard) leave(f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.users--
	if f.users > 0 || s.followers[f.keys.live] != f {
		return
	}
	delete(s.followers, f.keys.live)
	f.close()
	s.log.subs.unsubscribe(f.keys.live)
}

func (s *feedShard) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.followers {
		f.close()
	}
	s.followers, s.closed = map[string]*follower{}, true
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
	once     sync.Once
}

// Position implements [broker.Attachment].
func (a *attachment) Position() broker.Position { return a.at }

// Detach implements [broker.Attachment].
func (a *attachment) Detach() {
	a.once.Do(func() {
		a.follower.detach(a)
		a.follower.shard.leave(a.follower)
	})
}
