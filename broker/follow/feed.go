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
	// AuditBatch is how many silent channels are compared with the log in one audit.
	AuditBatch = 256
	// QueueBytes is the default bound, in bytes, of the messages that wait for one shard of a feed. Messages
	// that do not fit are read from the log later.
	QueueBytes = 64 << 20
)

// Options are the settings of a [Feed] and what its log provides to it.
type Options[M any] struct {
	// Context ends when the log closes. Go starts a goroutine that the log's Close waits for.
	Context context.Context
	Go      func(func())
	// Line makes the line of a follower. The line's Begin is called before its other methods.
	Line func(*Follower[M]) Line[M]
	// Shards is the number of shards over which channels are distributed.
	Shards int
	// Repairs bounds the repairs in progress, with a fair share for each app.
	Repairs *broker.Share
	// RepairTimeout is how long reads of the log may fail, while Connected reports true, before a
	// repair gives up. A nil Connected means always connected.
	RepairTimeout time.Duration
	Connected     func() bool
	// AttachTimeout bounds how long a follower may take to begin, default 10 s.
	AttachTimeout time.Duration
	// Passed counts the live messages ever put into the queue of a shard, and those that have been handled.
	// Nil means that no message ever waits.
	Passed func(shard int) (put, done uint64)
	Logger *slog.Logger
	// Wake asks the log to compare soon the channels that missed messages.
	Wake func()
}

// Feed holds the followers of a log, by channel. Make it with [NewFeed]. Safe for concurrent use.
type Feed[M any] struct {
	opt      Options[M]
	counters *Counters
	shards   []*shard[M]
	// lines limits the rate of log lines about channels, since many channels may have the same problem.
	lines seldom.Lines
}

// shard holds a part of the followers. Its lock is taken before that of a follower.
type shard[M any] struct {
	number int

	mu        rank.Mutex[rank.Followers]
	followers map[string]*Follower[M] // by key
	closed    bool
}

// NewFeed returns a feed without followers.
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

// Attach attaches a sink to the channel whose live messages carry key. Errors: those of the line's Begin,
// [broker.ErrClosed], or the context's, which affects this caller only.
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

// use returns the follower of a key and counts one more user of it. It returns nil if the feed is closed.
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
		f.users++ // held by the goroutine that begins
		d.opt.Go(func() {
			f.begin()
			s.leave(f)
		})
	}
	f.users++
	return f
}

// leave gives up one use of a follower and closes the follower after the last one.
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

// forget removes a follower from the shard, whether or not it still has users.
func (s *shard[M]) forget(f *Follower[M]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[f.Key] == f {
		delete(s.followers, f.Key)
	}
}

// Find returns the follower of a key in a shard, nil if there is none.
func (d *Feed[M]) Find(shard int, key string) *Follower[M] {
	s := d.shards[shard]
	s.mu.Lock()
	f := s.followers[key]
	s.mu.Unlock()
	return f
}

// Lookup is [Feed.Find] for a caller that does not know the shard.
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

// Stats returns the counters of the log; queued is the number of live messages that wait now.
func (d *Feed[M]) Stats(queued int) Stats {
	s := d.counters.stats()
	s.Attached, s.Queued = d.Attached(), queued
	return s
}

// Attached returns the number of channels that are followed.
func (d *Feed[M]) Attached() int {
	n := 0
	for _, s := range d.shards {
		s.mu.Lock()
		n += len(s.followers)
		s.mu.Unlock()
	}
	return n
}

// Close ends all followers. The caller has ended the context of the options before.
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

// Everyone selects all followers.
func Everyone[M any](all []*Follower[M]) []*Follower[M] { return all }

// Missing selects the followers that missed messages or could not be compared with the log.
func Missing[M any](all []*Follower[M]) []*Follower[M] {
	return slices.DeleteFunc(all, func(f *Follower[M]) bool { return !f.missed.Load() })
}

// Oldest selects the [AuditBatch] followers whose last comparison with the log is longest ago. Only a
// comparison reveals that the last message of a channel was lost: no later message follows it.
func Oldest[M any](all []*Follower[M]) []*Follower[M] { return OldestOf(all, AuditBatch) }

// OldestOf is [Oldest] for n followers. It may reorder all.
func OldestOf[M any](all []*Follower[M], n int) []*Follower[M] {
	if len(all) > n {
		slices.SortFunc(all, func(a, b *Follower[M]) int { return cmp.Compare(a.audited.Load(), b.audited.Load()) })
		all = all[:n]
	}
	return all
}

// Attachment is one sink attached to a follower.
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
