package streams

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

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
	maxHeld      = 4096
	maxHeldBytes = 16 << 20
	// toTheEnd makes a repair read as far as the log goes.
	toTheEnd = 1<<64 - 1
)

// follower follows the live subject of one channel for all its sinks.
type follower struct {
	log                    *Log
	app                    *appLog
	shard                  *feedShard
	channel, subject, live string
	sub                    *standing
	audited                atomic.Int64
	// begun is closed when the position is known or failed is set.
	begun  chan struct{}
	failed error
	// users belongs to the shard's lock.
	users int

	mu    sync.Mutex
	state followerState
	track tracker
	epoch string
	// origin is where following began; nothing at or below it is delivered.
	origin uint64
	sinks  []*attachment
	held   []arrival
	bytes  int
	target uint64
}

// attachTimeout bounds one attempt to attach.
const attachTimeout = 10 * time.Second

// arrival is a live message. Of one whose place cannot be seen nothing is known but that
// it came after those before it.
type arrival struct {
	place
	msg    *nats.Msg
	unseen bool
}

// begin subscribes and then finds the position: what is stored after the
// subscription is active arrives live, what was stored before lies at or below the
// position.
func (f *follower) begin(ctx context.Context) {
	defer close(f.begun)
	if f.failed = f.subscribe(ctx); f.failed == nil {
		return
	}
	f.close()
	// The next one to come must find no failed follower.
	f.shard.mu.Lock()
	if f.shard.followers[f.live] == f {
		delete(f.shard.followers, f.live)
	}
	f.shard.mu.Unlock()
}

func (f *follower) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	crowded := f.log.feed.crowded.Load()
	sub, err := f.log.feed.stand(f.live, f.shard.in, nil)
	if err != nil {
		return unavailable("attaching", err)
	}
	f.mu.Lock()
	f.sub = sub
	f.mu.Unlock()
	if err := f.log.feed.settle(ctx, crowded); err != nil {
		return unavailable("attaching", err)
	}
	for {
		epoch := f.app.currentEpoch()
		newest, found, err := f.log.reader.newest(ctx, f.app.stream, f.subject)
		if err != nil {
			return err
		}
		origin := newest.offset
		if !found {
			if origin, err = f.log.end(ctx, f.app, epoch); err != nil {
				return err
			}
		}
		if f.settle(epoch, origin, newest.time, found) {
			return nil
		}
	}
}

// settle begins to follow from an origin, at which there may be a message. It does not if
// the log began a new life meanwhile: then the origin may be of either.
func (f *follower) settle(epoch string, origin uint64, at time.Time, found bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.app.currentEpoch() != epoch {
		return false
	}
	f.epoch, f.origin = epoch, origin
	if found {
		f.track.advance(origin, at)
	}
	f.resume()
	return true
}

func (f *follower) attach(sink broker.Sink) *attachment {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &attachment{follower: f, sink: sink, empty: f.track.last == 0, at: broker.Position{Epoch: f.epoch, Offset: max(f.track.last, f.origin)}}
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
	f.state = ended
	f.sinks, f.held, f.bytes = nil, nil, 0
	sub := f.sub
	f.mu.Unlock()
	if sub != nil {
		sub.end()
	}
}

// receive takes a live message from the shard.
func (f *follower) receive(m *nats.Msg) {
	p, err := placeOf(m, f.app.stream, f.subject)
	// Everybody may put such headers on a message, but nobody except the server
	// may write the live subject, and it puts its own last.
	if errors.Is(err, errPlaceless) {
		f.log.stats.rejected.Add(1)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accept(arrival{p, m, err != nil})
}

// accept judges a message and acts on the verdict. The lock is held.
func (f *follower) accept(m arrival) {
	switch f.state {
	case ended:
		return
	case beginning, repairing:
		f.hold(m)
		return
	}
	if m.unseen {
		f.lookUp()
		return
	}
	switch f.track.judge(m.offset, m.prev, m.time) {
	case deliver:
		f.publish(&stored{place: m.place, header: m.msg.Header, data: m.msg.Data})
	case repair:
		f.hold(m)
		f.repair(m.prev)
	case suspect:
		f.hold(m)
		f.investigate()
	}
}

func (f *follower) hold(m arrival) {
	if len(f.held) >= maxHeld || f.bytes > maxHeldBytes {
		f.held, f.bytes = nil, 0
		f.target = toTheEnd
	}
	f.held = append(f.held, m)
	f.bytes += m.msg.Size()
}

// resume goes back to following and takes what was held. The lock is held.
func (f *follower) resume() {
	if f.state == ended {
		return
	}
	f.state = following
	held := unknown(f.held, f.track.last)
	f.held, f.bytes = nil, 0
	for _, m := range held {
		f.accept(m)
	}
}

// publish delivers a message of the log. The lock is held.
func (f *follower) publish(m *stored) {
	p := f.log.publication(f.app, m, f.epoch)
	if p.Skipped != "" {
		f.log.stats.skipped.Add(1)
		// Whoever may publish can make as many of them as he likes.
		f.log.skips.Warn(f.log.opt.Logger, f.app.opt.ID, "events that cannot be delivered were skipped", "app", f.app.opt.ID,
			"channel", f.channel, "epoch", p.Epoch, "offset", p.Offset, "reason", p.Skipped)
	}
	f.deliver(p)
}

// deliver gives a publication to all sinks. The lock is held.
func (f *follower) deliver(p *broker.Publication) {
	f.track.advance(p.Offset, p.Time)
	f.app.known.saw(p.Offset)
	if p.Offset <= f.origin {
		return
	}
	for _, a := range f.sinks {
		if a.at.Epoch != p.Epoch || p.Offset > a.at.Offset {
			a.sink.Publication(p)
		}
	}
}

// gap tells all sinks that publications are missing. The lock is held.
func (f *follower) gap(g broker.Gap) {
	switch g.Reason {
	case broker.GapEvicted:
		f.log.stats.gapEvicted.Add(1)
	case broker.GapEpoch:
		f.log.stats.gapEpoch.Add(1)
	case broker.GapUnavailable:
		f.log.stats.gapUnavailable.Add(1)
	}
	for _, a := range f.sinks {
		a.sink.Gap(g)
	}
}

func (f *follower) here() broker.Position {
	return broker.Position{Epoch: f.epoch, Offset: max(f.track.last, f.origin)}
}

// newEpoch begins a new life of the log behind a position, at which the log ended at a
// time of its own clock.
func (f *follower) newEpoch(p broker.Position, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == ended || f.state == beginning || f.epoch == p.Epoch {
		return
	}
	// What was stored and delivered since the log was asked is of the new life already, and
	// would come again.
	if f.track.seen.time.After(at) {
		p.Offset = max(p.Offset, f.track.seen.offset)
	}
	f.gap(broker.Gap{After: f.here(), Resume: p, Reason: broker.GapEpoch})
	f.epoch, f.origin, f.track = p.Epoch, p.Offset, tracker{last: p.Offset}
	if f.state == following {
		f.repair(toTheEnd)
	} else {
		f.target = toTheEnd
	}
}

// behind says whether the log has a later message than was delivered.
func (f *follower) behind(newest uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return newest > max(f.track.last, f.origin)
}

// catchUp repairs the channel if the log has a later message than was delivered. If its
// newest one is older than what had been delivered before it was asked, a replica is
// behind, or the log lost its tail.
func (f *follower) catchUp(newest, before uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.state != following:
	case newest > f.track.last && newest > f.origin:
		f.repair(newest)
	case newest < before && f.track.seen.offset > 0:
		f.investigate()
	}
}
