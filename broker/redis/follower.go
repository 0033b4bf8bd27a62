package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// follower is the [follow.Line] of one channel in Redis.
type follower struct {
	*follow.Follower[arrival]
	log  *Log
	app  *appLog
	keys channelKeys
	// series is that of the publications, see [seriesOf].
	series string
	sub    *subscription
	// unproven is set after a new epoch began: what the log has is then accepted even if it does not follow
	// the delivered events. life is the new epoch; sinks are told of it when the channel's place in it is
	// known. The follower's lock guards both.
	unproven bool
	life     string
	// void is set while the log was not seen to have any event of the channel: the first event then proves
	// by itself that none is before it. since is when following began. The follower's lock guards both.
	void  bool
	since time.Time
	// kept is when the channel's place was last known to exist. gone is set when the place may have expired
	// before it was checked again: its absence is then no proof of a loss. The follower's lock guards both.
	kept time.Time
	gone bool
}

var _ follow.Line[arrival] = (*follower)(nil)

func (l *Log) line(f *follow.Follower[arrival]) follow.Line[arrival] {
	return &follower{Follower: f, log: l, app: l.apps.Of(f.App), keys: l.keys.channel(f.App, f.Channel), series: seriesOf(f.Channel)}
}

// Begin implements [follow.Line]. It subscribes and then reads the position: an event stored after the
// subscription is active arrives live, an earlier one lies at or below the position.
func (f *follower) Begin(ctx context.Context) error {
	queue := f.log.queues[f.Shard()]
	err := f.log.attempt(ctx, func(ctx context.Context) (err error) {
		f.sub, err = f.log.subs.subscribe(ctx, f.keys.live, func(m string) { f.take(queue, m) })
		return err
	})
	if err != nil {
		return unavailable("attaching", err)
	}
	for {
		epoch := f.app.currentEpoch()
		here, err := f.touch(ctx, 0)
		if err != nil {
			return unavailable("attaching", err)
		}
		if f.start(epoch, here) {
			return nil
		}
	}
}

// start begins at a place, unless a new epoch began while the place was requested. The place may belong to
// the old epoch then, and a new epoch is announced only to followers that have started.
func (f *follower) start(epoch string, here ground) bool {
	f.Lock()
	defer f.Leave()
	if f.app.currentEpoch() != epoch {
		return false
	}
	f.void, f.since = here.isVoid(), time.Now()
	f.Start(broker.Position{Epoch: epoch, Offset: here.at()}, here.messages == 0)
	return true
}

// End implements [follow.Line].
func (f *follower) End() {
	if f.sub != nil {
		f.log.subs.end(f.sub)
	}
}

// touch extends the life of the channel's place. If there is none, it creates one whose number is a multiple
// of grain; with 0 it creates none. It returns the state of the channel.
func (f *follower) touch(ctx context.Context, grain int) (here ground, err error) {
	var got []rueidis.RedisMessage
	var began time.Time
	err = f.log.attempt(ctx, func(ctx context.Context) (err error) {
		began = time.Now()
		got, err = touchScript.Exec(ctx, f.log.pub, []string{f.keys.meta, f.keys.stream},
			[]string{milliseconds(placeLife(f.app)), milliseconds(voidLife), strconv.Itoa(grain)}).ToArray()
		return err
	})
	if err != nil {
		return here, err
	}
	if here, err = parseGround(got); err == nil && here.exists {
		f.keep(began)
	}
	return here, err
}

// keep records that the channel's place existed at a time.
func (f *follower) keep(at time.Time) {
	f.Lock()
	defer f.Unlock()
	f.gone = f.gone || !f.kept.IsZero() && aged(f.kept)
	f.kept = at
}

// receive handles a live message from the shard.
func (f *follower) receive(a arrival) {
	if a.cast {
		f.hear(a.entry)
		return
	}
	if f.Enter(a, len(a.entry)) {
		f.accept(a)
		f.Leave()
	}
}

// Accept implements [follow.Line].
func (f *follower) Accept(held []arrival) {
	for _, a := range held {
		f.accept(a)
	}
}

// accept judges a message and acts on the result. The caller holds the lock.
func (f *follower) accept(a arrival) {
	last := f.At().Offset
	switch {
	case !f.Following():
		f.Hold(a, len(a.entry))
	case a.offset <= last && !f.void:
		// It was delivered before: an offset is never used twice.
	case a.prev == last, f.void && !a.overdue && a.prev == a.base && a.offset > last:
		f.deliver(a)
	case a.overdue:
		// The log was read to its end since and does not have the event: a server lost it, or somebody forged
		// the message.
		f.log.stats.Rejected.Add(1)
	default:
		// Something is missing here or in the log; the repair finds out.
		f.Hold(a, len(a.entry))
		f.Repair(follow.Read)
	}
}

// deliver gives an entry to the sinks. The caller holds the lock.
func (f *follower) deliver(a arrival) {
	p := a.publication(f.At().Epoch, f.series, true)
	if p.Skipped != "" {
		f.log.stats.Skipped.Add(1)
	}
	f.void = false
	f.Give(p)
}

// goOver continues in the new epoch at an offset. base is the offset before the channel's first one there;
// empty is true if the log has no event of the channel. The caller holds the lock.
func (f *follower) goOver(offset, base uint64, empty bool) {
	switch {
	case f.At().Epoch != f.life:
		f.Renew(broker.Position{Epoch: f.life, Offset: offset}, empty)
	// The sinks were told of the epoch before the place was known.
	case offset > f.At().Offset && offset > base:
		f.missing(offset, broker.GapEvicted)
	default:
		f.Stand(offset)
	}
}

// missing reports a gap up to an offset. The caller holds the lock.
func (f *follower) missing(offset uint64, reason broker.GapReason) {
	f.void = f.void && offset <= f.At().Offset
	f.Gap(broker.Position{Epoch: f.At().Epoch, Offset: offset}, reason)
}

// newEpoch begins to move the follower to the present epoch. The sinks are told when the channel's place in
// it has been read, because clients may resume from the place that they are told.
func (f *follower) newEpoch() {
	f.Lock()
	defer f.LeaveToOthers()
	epoch := f.app.currentEpoch()
	if !f.Begun() || f.At().Epoch == epoch || f.life == epoch {
		return
	}
	f.unproven, f.life = true, epoch
	if f.Following() {
		f.Repair(follow.Read)
	}
}
