package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// follower follows one channel: it is what a [follow.Follower] knows of Redis.
type follower struct {
	*follow.Follower[arrival]
	log  *Log
	app  *appLog
	keys channelKeys
	// series is that of the publications, see [seriesOf].
	series string
	sub    *subscription
	// unproven is set when a new life began: what the log has is right, even if
	// it does not follow from what was delivered. life is the epoch of it, which the sinks are
	// told when the place of the channel in it is known. Both belong to the lock.
	unproven bool
	life     string
	// void is set while nothing was ever published to the channel, as far as the log was seen: what comes
	// first proves that nothing is before it. since is when it began to be followed. Both belong to the lock.
	void  bool
	since time.Time
	// kept is when the place of the channel was known to be there. gone is set when it may have
	// aged before it was looked at again: that it is not there says nothing of a loss then. Both
	// belong to the lock.
	kept time.Time
	gone bool
}

var _ follow.Line[arrival] = (*follower)(nil)

func (l *Log) line(f *follow.Follower[arrival]) follow.Line[arrival] {
	return &follower{Follower: f, log: l, app: l.apps.Of(f.App), keys: l.keys.channel(f.App, f.Channel), series: seriesOf(f.Channel)}
}

// Begin implements [follow.Line]. It subscribes and then finds the position: what is stored
// after the subscription is active arrives live, what was stored before lies at or below it.
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

// start begins at a place, unless a new life of the log began while it was asked for:
// the place may be of the old one, and who begins a life tells it only those who have
// started.
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

// touch keeps the channel's place in the log, and makes one, if it is told to and there is none, of which the
// number is a multiple of grain; 0 makes none. It returns where the channel is.
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

// keep notes that the place of the channel was there at a time.
func (f *follower) keep(at time.Time) {
	f.Lock()
	defer f.Unlock()
	f.gone = f.gone || !f.kept.IsZero() && aged(f.kept)
	f.kept = at
}

// receive takes a live message from the shard.
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

// accept judges a message and acts on the verdict. The lock is held.
func (f *follower) accept(a arrival) {
	last := f.At().Offset
	switch {
	case !f.Following():
		f.Hold(a, len(a.entry))
	case a.offset <= last && !f.void:
		// It was delivered before: offsets are never given out again.
	case a.prev == last, f.void && !a.overdue && a.prev == a.base && a.offset > last:
		f.deliver(a)
	case a.overdue:
		// The log was read to its end since and has no such thing: a server lost
		// it, or somebody made it up.
		f.log.stats.Rejected.Add(1)
	default:
		// Something is missing here, or in the log: the repair finds out.
		f.Hold(a, len(a.entry))
		f.Repair(follow.Read)
	}
}

// deliver gives an entry. The lock is held.
func (f *follower) deliver(a arrival) {
	p := a.publication(f.At().Epoch, f.series, true)
	if p.Skipped != "" {
		f.log.stats.Skipped.Add(1)
	}
	f.void = false
	f.Give(p)
}

// goOver goes on in the life that began, at a place. base is where the channel begins there, and
// empty says that the log has nothing of it. The lock is held.
func (f *follower) goOver(offset, base uint64, empty bool) {
	switch {
	case f.At().Epoch != f.life:
		f.Renew(broker.Position{Epoch: f.life, Offset: offset}, empty)
	// The life was told without knowing the place.
	case offset > f.At().Offset && offset > base:
		f.missing(offset, broker.GapEvicted)
	default:
		f.Stand(offset)
	}
}

// missing has it told that everything up to an offset is missing. The lock is held.
func (f *follower) missing(offset uint64, reason broker.GapReason) {
	f.void = f.void && offset <= f.At().Offset
	f.Gap(broker.Position{Epoch: f.At().Epoch, Offset: offset}, reason)
}

// newEpoch begins to go over to the present life of the log. The sinks are told when its place there was
// read: whoever is told may resume from it.
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
