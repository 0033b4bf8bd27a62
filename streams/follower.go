package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// toTheEnd as a target makes a repair read to the end of the log.
const toTheEnd = 1<<64 - 1

// follower follows the live subject of one channel. It is the JetStream part of a [follow.Follower].
type follower struct {
	*follow.Follower[arrival]
	log     *Log
	app     *appLog
	subject string
	sub     *standing
	// cast is the part of ephemeral events to which the channel belongs, empty for none.
	cast string

	// The lock of the follower guards the rest.

	track tracker
	// sound is the value of appLog.upset when the channel was last known to miss nothing, and checked its value when the
	// present repair began.
	sound, checked uint64
	// origin is the offset at which following began. Messages at or below it are not delivered.
	origin uint64
	// target is the offset up to which a repair reads.
	target uint64
	// doubt is a question that a repair must answer before it reads. page holds messages that it has read and must not
	// deliver before that.
	doubt doubt
	page  *page
}

var _ follow.Line[arrival] = (*follower)(nil)

// doubt is a question about a channel for the leader of the stream.
type doubt uint8

const (
	certain doubt = iota
	// tail: has the log lost the last message that was seen?
	tail
	// unplaced: where does the channel end? A live message has arrived whose place cannot be read.
	unplaced
)

// arrival is a live message. unseen says that its place could not be read: then it is only known that it follows the
// messages that arrived before.
type arrival struct {
	place
	msg    *nats.Msg
	unseen bool
}

func (l *Log) line(f *follow.Follower[arrival]) follow.Line[arrival] {
	return &follower{Follower: f, log: l, app: l.apps.Of(f.App), subject: publishSubject(l.opt.Prefix, f.App, f.Channel)}
}

// Begin implements [follow.Line]. It subscribes and then determines the position. Messages that are stored after the
// subscription is active arrive live. Messages that were stored before are at or below the position.
func (f *follower) Begin(ctx context.Context) (err error) {
	crowded := f.log.feed.crowded.Load()
	return f.log.patiently(ctx, func() error {
		if err := f.listen(ctx, crowded); err != nil {
			return unavailable("attaching", err)
		}
		return f.find(ctx)
	})
}

// listen makes the subscriptions that are not made yet. crowded is the value of link.crowded before the first attempt.
func (f *follower) listen(ctx context.Context, crowded uint64) (err error) {
	if f.sub == nil {
		if f.sub, err = f.log.feed.stand(f.Key, f.log.shards[f.Shard()].in, nil); err != nil {
			return err
		}
	}
	if f.cast == "" && f.App != broker.GatewaysApp {
		part := castPart(f.log.opt.Prefix, f.App, f.Channel)
		if err := f.log.casts.join(part); err != nil {
			return err
		}
		f.cast = part
	}
	return f.log.feed.settle(ctx, crowded)
}

// find determines the position.
func (f *follower) find(ctx context.Context) error {
	for {
		epoch, upset := f.app.currentEpoch(), f.app.upset.Load()
		newest, found, err := f.app.tips.find(ctx, f.log.reader, f.app.stream, f.subject)
		if err != nil {
			return err
		}
		origin := newest.offset
		if !found {
			if origin, err = f.log.end(ctx, f.app, epoch); err != nil {
				return err
			}
		}
		if f.settle(epoch, upset, origin, newest.time, found) {
			return nil
		}
	}
}

// settle begins to follow from origin; found says that there is a message at that offset, stored at the time at. It reports
// false if a new epoch began meanwhile, because the origin may belong to either.
func (f *follower) settle(epoch string, upset, origin uint64, at time.Time, found bool) bool {
	f.Lock()
	defer f.Leave()
	if f.app.currentEpoch() != epoch {
		return false
	}
	f.origin, f.sound = origin, upset
	if found {
		f.track.advance(origin, at)
	}
	f.Start(broker.Position{Epoch: epoch, Offset: origin}, !found)
	return true
}

// End implements [follow.Line].
func (f *follower) End() {
	if f.sub != nil {
		f.sub.end()
	}
	if f.cast != "" {
		f.log.casts.leave(f.cast)
	}
}

// receive handles a live message of the shard.
func (f *follower) receive(m *nats.Msg) {
	p, err := placeOf(m, f.app.stream, f.subject)
	// Everybody may put such headers on a message, but nobody except the server
	// may write the live subject, and it puts its own last.
	if errors.Is(err, errPlaceless) {
		f.log.stats.Rejected.Add(1)
		return
	}
	a := arrival{p, m, err != nil}
	if f.Enter(a, m.Size()) {
		f.accept(a)
		f.Leave()
	}
}

// Accept implements [follow.Line].
func (f *follower) Accept(held []arrival) {
	for _, m := range unknown(held, f.track.last) {
		f.accept(m)
	}
}

// accept judges a message and acts on the verdict. The lock is held.
func (f *follower) accept(m arrival) {
	if !f.Following() {
		f.Hold(m, m.msg.Size())
		return
	}
	if m.unseen {
		f.inquire(unplaced)
		return
	}
	switch f.track.judge(m.offset, m.prev, m.time) {
	case deliver:
		upset := f.app.upset.Load()
		if f.sound != upset && m.prev == 0 {
			// The message names no predecessor. That proves nothing here: earlier messages that have not arrived may
			// have been purged.
			f.Hold(m, m.msg.Size())
			f.inquire(tail)
			return
		}
		f.sound = upset
		f.app.sure.saw(f.log.Now().Sub(m.time))
		f.publish(&stored{place: m.place, header: m.msg.Header, data: m.msg.Data})
	case repair:
		f.Hold(m, m.msg.Size())
		f.repair(m.prev)
	case suspect:
		f.Hold(m, m.msg.Size())
		f.inquire(tail)
	}
}

// publish delivers a message of the log. The caller holds the lock.
func (f *follower) publish(m *stored) {
	p := f.log.publication(f.app, m, f.At().Epoch)
	if p.Skipped != "" {
		f.app.overlooked.given[p.Offset%overlookedMost].Store(p.Offset)
		f.log.skip(f.app, f.Channel, p)
	}
	f.track.advance(p.Offset, p.Time)
	f.app.known.gave(p.Offset, f.subject)
	f.Give(p)
}

// missing reports that everything up to an offset is missing. The caller holds the lock.
func (f *follower) missing(offset uint64, reason broker.GapReason) {
	f.Gap(broker.Position{Epoch: f.At().Epoch, Offset: offset}, reason)
	f.track.skip(offset)
}

// newEpoch begins a new epoch at position p, where the log ended at the time at by the clock of the server.
func (f *follower) newEpoch(p broker.Position, at time.Time) {
	f.Lock()
	defer f.LeaveToOthers()
	if !f.Begun() || f.At().Epoch == p.Epoch {
		return
	}
	// Messages that were delivered since the log was asked already belong to the new epoch, and would be delivered again.
	if f.track.seen.time.After(at) {
		p.Offset = max(p.Offset, f.track.seen.offset)
	}
	f.Renew(p, false)
	f.origin, f.track = p.Offset, tracker{last: p.Offset}
	f.doubt, f.page, f.sound = certain, nil, f.app.upset.Load()
	if f.Following() {
		f.repair(toTheEnd)
	} else {
		f.target = toTheEnd
	}
}

// seen is the message that was delivered last.
func (f *follower) seen() mark {
	f.Lock()
	defer f.Unlock()
	return mark{f.subject, f.track.seen.offset, f.track.seen.time}
}

// behind says whether the log has a later message than was delivered.
func (f *follower) behind(newest uint64) bool {
	f.Lock()
	defer f.Unlock()
	return newest > f.At().Offset
}

// catchUp repairs the channel if the log has a later message than was delivered. If its
// newest one is older than what had been delivered before it was asked, a replica is
// behind, or the log lost its tail. upset is how often the app had been upset before.
func (f *follower) catchUp(newest, before, upset uint64) {
	f.Lock()
	defer f.Unlock()
	switch {
	case !f.Following():
	case newest <= f.track.last && newest >= f.track.seen.offset:
		f.sound = max(f.sound, upset)
	case newest > f.At().Offset:
		f.repair(newest)
	case newest < before && f.track.seen.offset > 0:
		f.inquire(tail)
	}
}
