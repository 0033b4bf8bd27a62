package follow

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
)

const (
	// AuditBatch is how many silent channels are compared with the log at a time.
	AuditBatch = 256
	// QueueBytes is what may wait for one shard of a feed in bytes, unless a log is told
	// otherwise. What does not fit is read from the log.
	QueueBytes = 64 << 20
)

// Options say what a [Feed] needs from its log.
type Options[M any] struct {
	// Context ends with the log. Go runs what Close waits for.
	Context context.Context
	Go      func(func())
	// Line makes what knows of the log of a channel, of which nothing else is called before
	// Begin.
	Line func(*Follower[M]) Line[M]
	// Shards is the number of parts of the channels.
	Shards int
	// Repairs bounds the repairs under way, by app.
	Repairs *broker.Share
	// RepairTimeout is how long the log may not be readable while Connected says that it can be
	// reached; nil says that it always can.
	RepairTimeout time.Duration
	Connected     func() bool
	// AttachTimeout bounds the beginning of a follower, default 10 s.
	AttachTimeout time.Duration
	// Passed counts the live messages that were put into the queue of a shard, and those of them
	// that were given to their followers. Nil says that none waits.
	Passed func(shard int) (put, done uint64)
	Logger *slog.Logger
	// Wake asks for channels that missed something to be compared with the log.
	Wake func()
}

// Feed is who follows what. Make it with [NewFeed]. Safe for use by many goroutines.
type Feed[M any] struct {
	opt      Options[M]
	counters *Counters
	shards   []*shard[M]
	// lines are about channels, of which there may be many in the same trouble.
	lines seldom.Lines
}

// shard is a part of the followers. Its lock is taken before that of a follower.
type shard[M any] struct {
	number int

	mu        rank.Mutex[rank.Followers]
	followers map[string]*Follower[M] // by key
	closed    bool
}

// NewFeed returns a feed that nobody follows yet.
func NewFeed[M any](opt Options[M], c *Counters) *Feed[M] {
	if opt.Connected == nil {
		opt.Connected = func() bool { return true }
	}
	if opt.Passed == nil {
		opt.Passed = func(int) (put, done uint64) { return 0, 0 }
	}
	Default(&opt.AttachTimeout, AttachTimeout(0))
	d := &Feed[M]{opt: opt, counters: c}
	for i := range opt.Shards {
		d.shards = append(d.shards, &shard[M]{number: i, followers: map[string]*Follower[M]{}})
	}
	return d
}

var seed = maphash.MakeSeed()

// Attach attaches a sink to a channel whose live messages have a key. Errors: those of the
// line, [broker.ErrClosed], or the context's, which ends the waiting of this caller alone.
func (d *Feed[M]) Attach(ctx context.Context, app, channel, key string, sink broker.Sink) (broker.Attachment, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.opt.Context.Err() != nil {
		return nil, broker.ErrClosed
	}
	s := d.shards[d.shardOf(key)]
	f := d.use(s, app, channel, key)
	if f == nil {
		return nil, broker.ErrClosed
	}
	select {
	case <-f.begun:
	case <-ctx.Done():
		s.leave(f)
		return nil, ctx.Err()
	}
	err := f.failed
	if d.opt.Context.Err() != nil {
		err = broker.ErrClosed
	}
	if err != nil {
		s.leave(f)
		return nil, err
	}
	a := &Attachment[M]{follower: f, sink: sink}
	f.mu.Lock()
	f.course.attach(a)
	f.mu.Unlock()
	return a, nil
}

// use returns the follower of a key for one more user, nil if the feed is closed.
func (d *Feed[M]) use(s *shard[M], app, channel, key string) *Follower[M] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	f := s.followers[key]
	if f == nil {
		f = &Follower[M]{App: app, Channel: channel, Key: key, feed: d, shard: s, begun: make(chan struct{})}
		f.line = d.opt.Line(f)
		s.followers[key] = f
		f.users++ // until it has begun
		d.opt.Go(func() {
			f.begin()
			s.leave(f)
		})
	}
	f.users++
	return f
}

// leave gives up one use of a follower and ends it with the last one.
func (s *shard[M]) leave(f *Follower[M]) {
	s.mu.Lock()
	f.users--
	last := f.users == 0
	if last && s.followers[f.Key] == f {
		delete(s.followers, f.Key)
	}
	s.mu.Unlock()
	if last {
		f.close()
	}
}

// forget takes a follower out, whoever still has a use of it.
func (s *shard[M]) forget(f *Follower[M]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[f.Key] == f {
		delete(s.followers, f.Key)
	}
}

// Find returns the follower of a key that belongs to a shard, nil if there is none.
func (d *Feed[M]) Find(shard int, key string) *Follower[M] {
	s := d.shards[shard]
	s.mu.Lock()
	f := s.followers[key]
	s.mu.Unlock()
	return f
}

// Lookup is Find where the shard is not known.
func (d *Feed[M]) Lookup(key string) *Follower[M] { return d.Find(d.shardOf(key), key) }

func (d *Feed[M]) shardOf(key string) int {
	return int(maphash.String(seed, key) % uint64(len(d.shards)))
}

// Of returns the followers of an app.
func (d *Feed[M]) Of(app string) []*Follower[M] {
	var out []*Follower[M]
	for _, s := range d.shards {
		s.mu.Lock()
		for _, f := range s.followers {
			if f.App == app {
				out = append(out, f)
			}
		}
		s.mu.Unlock()
	}
	return out
}

// Stats is what the log counted, while so many live messages wait.
func (d *Feed[M]) Stats(queued int) Stats {
	s := d.counters.stats()
	s.Attached, s.Queued = d.Attached(), queued
	return s
}

// Attached is the number of channels that are followed.
func (d *Feed[M]) Attached() int {
	n := 0
	for _, s := range d.shards {
		s.mu.Lock()
		n += len(s.followers)
		s.mu.Unlock()
	}
	return n
}

// Close ends all followers. The context of the options has ended before.
func (d *Feed[M]) Close() {
	for _, s := range d.shards {
		s.mu.Lock()
		all := s.followers
		s.followers, s.closed = nil, true
		s.mu.Unlock()
		for _, f := range all {
			f.end()
			<-f.begun
			f.close()
		}
	}
}

// Everyone chooses all followers.
func Everyone[M any](all []*Follower[M]) []*Follower[M] { return all }

// Missing chooses those that missed something, or could not be compared.
func Missing[M any](all []*Follower[M]) []*Follower[M] {
	return slices.DeleteFunc(all, func(f *Follower[M]) bool { return !f.missed.Load() })
}

// Oldest chooses those that were not compared with the log for longest, [AuditBatch] of them: a
// lost last message is not revealed by any later one.
func Oldest[M any](all []*Follower[M]) []*Follower[M] { return OldestOf(all, AuditBatch) }

// OldestOf is [Oldest] for n of them.
func OldestOf[M any](all []*Follower[M], n int) []*Follower[M] {
	if len(all) > n {
		slices.SortFunc(all, func(a, b *Follower[M]) int { return cmp.Compare(a.audited.Load(), b.audited.Load()) })
		all = all[:n]
	}
	return all
}

// Attachment is one sink of a follower.
type Attachment[M any] struct {
	follower *Follower[M]
	sink     broker.Sink
	at       broker.Position
	empty    bool
	gone     atomic.Bool
}

// Empty implements [broker.Emptiness].
func (a *Attachment[M]) Empty() bool { return a.empty }

// Position implements [broker.Attachment].
func (a *Attachment[M]) Position() broker.Position { return a.at }

// Detach implements [broker.Attachment].
func (a *Attachment[M]) Detach() {
	if !a.gone.CompareAndSwap(false, true) {
		return
	}
	a.follower.mu.Lock()
	a.follower.course.detach(a)
	a.follower.mu.Unlock()
	a.follower.shard.leave(a.follower)
}
