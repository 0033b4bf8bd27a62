package redis

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

type followerState uint8

const (
	// beginning: the position is not known yet; messages are held.
	beginning followerState = iota
	// following: messages are judged and delivered as they come.
	following
	// repairing: a goroutine reads the log; messages are held.
	repairing
	// ended: nothing is delivered any more.
	ended
)

const (
	// maxHeld and maxHeldBytes bound what waits for a repair. Beyond them the
	// held messages are given up and the repair reads on to the end of the log.
	maxHeld       = 4096
	maxHeldBytes  = 16 << 20
	attachTimeout = 10 * time.Second
)

// follower follows one channel for all its sinks.
type follower struct {
	log     *Log
	app     *appLog
	shard   *feedShard
	channel string
	keys    channelKeys
	audited atomic.Int64
	// missed is set when it must be compared with the log soon.
	missed atomic.Bool
	// begun is closed when the position is known or failed is set.
	begun  chan struct{}
	failed error
	// users belongs to the shard's lock.
	users int

	mu    sync.Mutex
	state followerState
	epoch string
	// last is the newest offset that was delivered or lies below the beginning.
	last uint64
	// unproven is set when a new life began: what the log has is right, even if
	// it does not follow from last.
	unproven bool
	sinks    []*attachment
	held     []arrival
	bytes    int
}

// begin subscribes and then finds the position: what is stored after the subscription
// is active arrives live, what was stored before lies at or below the position.
func (f *follower) begin() {
	defer close(f.begun)
	if f.failed = f.subscribe(f.log.ctx); f.failed == nil {
		return
	}
	f.close()
	f.log.subs.unsubscribe(f.keys.live)
	// The next one to come must find no failed follower.
	f.shard.mu.Lock()
	if f.shard.followers[f.keys.live] == f {
		delete(f.shard.followers, f.keys.live)
	}
	f.shard.mu.Unlock()
}

func (f *follower) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	err := f.log.attempt(ctx, func(ctx context.Context) error {
		return f.log.subs.subscribe(ctx, f.keys.live, func(m string) { f.shard.take(f, m) })
	})
	if err != nil {
		return unavailable("attaching", err)
	}
	for {
		epoch := f.app.currentEpoch()
		last, _, err := f.touch(ctx)
		if err != nil {
			return unavailable("attaching", err)
		}
		if f.start(epoch, last) {
			return nil
		}
	}
}

// start begins at a place, unless a new life of the log began while it was asked for:
// the place may be of the old one, and who begins a life tells it only those who have
// started.
func (f *follower) start(epoch string, last uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.app.currentEpoch() != epoch {
		return false
	}
	f.epoch, f.last = epoch, last
	f.resume()
	return true
}

// touch makes or keeps the channel's place in the log, and returns the newest offset
// and the one before the first.
func (f *follower) touch(ctx context.Context) (last, base uint64, err error) {
	var got []rueidis.RedisMessage
	err = f.log.attempt(ctx, func(ctx context.Context) (err error) {
		got, err = touchScript.Exec(ctx, f.log.pub, []string{f.keys.meta}, []string{placeLife(f.app)}).ToArray()
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if len(got) != 2 {
		return 0, 0, errNotOurs
	}
	if last, err = got[0].AsUint64(); err == nil {
		base, err = got[1].AsUint64()
	}
	return last, base, err
}

func (f *follower) attach(sink broker.Sink) *attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &attachment{follower: f, sink: sink, at: f.here()}
	f.sinks = append(f.sinks, a)
	return a
}

func (f *follower) detach(a *attachment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = slices.DeleteFunc(slices.Clone(f.sinks), func(x *attachment) bool { return x == a })
}

func (f *follower) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = ended
	f.sinks, f.held, f.bytes = nil, nil, 0
}

func (f *follower) here() broker.Position { return broker.Position{Epoch: f.epoch, Offset: f.last} }

// receive takes a live message from the shard.
func (f *follower) receive(a arrival) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accept(a)
}

// accept judges a message and acts on the verdict. The lock is held.
func (f *follower) accept(a arrival) {
	switch f.state {
	case ended:
		return
	case beginning, repairing:
		f.hold(a)
		return
	}
	switch {
	case a.offset <= f.last:
		// It was delivered before: offsets are never given out again.
	case a.prev == f.last:
		f.deliver(a)
	case a.overdue:
		// The log was read to its end since and has no such thing: a server lost
		// it, or somebody made it up.
		f.log.stats.rejected.Add(1)
	default:
		// Something is missing here, or in the log: the repair finds out.
		f.hold(a)
		f.repair()
	}
}

func (f *follower) hold(a arrival) {
	if len(f.held) >= maxHeld || f.bytes > maxHeldBytes {
		f.held, f.bytes = nil, 0
	}
	f.held = append(f.held, a)
	f.bytes += len(a.entry)
}

// resume goes back to following and takes what was held. The lock is held.
func (f *follower) resume() {
	if f.state == ended {
		return
	}
	f.state = following
	held := f.held
	f.held, f.bytes = nil, 0
	for _, a := range held {
		f.accept(a)
	}
	if f.missed.Load() {
		f.log.trigger()
	}
}

// deliver gives a publication to all sinks. The lock is held.
func (f *follower) deliver(a arrival) {
	p := a.publication(f.epoch, true)
	if p.Skipped != "" {
		f.log.stats.skipped.Add(1)
	}
	f.last = a.offset
	for _, s := range f.sinks {
		if s.at.Epoch != p.Epoch || p.Offset > s.at.Offset {
			s.sink.Publication(p)
		}
	}
}

// gap tells all sinks that publications are missing, and goes on behind them. The lock
// is held.
func (f *follower) gap(resume broker.Position, reason broker.GapReason) {
	switch reason {
	case broker.GapEvicted:
		f.log.stats.gapEvicted.Add(1)
	case broker.GapEpoch:
		f.log.stats.gapEpoch.Add(1)
	case broker.GapUnavailable:
		f.log.stats.gapUnavailable.Add(1)
	}
	g := broker.Gap{After: f.here(), Resume: resume, Reason: reason}
	f.epoch, f.last = resume.Epoch, resume.Offset
	for _, s := range f.sinks {
		s.sink.Gap(g)
	}
}

// newEpoch goes over to the present life of the log. Offsets are never given out again,
// so what follows lies above what was delivered.
func (f *follower) newEpoch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	epoch := f.app.currentEpoch()
	if f.state == ended || f.state == beginning || f.epoch == epoch {
		return
	}
	f.gap(broker.Position{Epoch: epoch, Offset: f.last}, broker.GapEpoch)
	f.unproven = true
	if f.state == following {
		f.repair()
	}
}
