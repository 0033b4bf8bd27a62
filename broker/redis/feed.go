package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
)

// live is a live message and the follower that it is for.
type live struct {
	follower *follower
	arrival
}

// arrival is an entry of a channel, announced or read.
type arrival struct {
	offset, prev, base uint64
	time               time.Time
	verdict            broker.Verdict
	entry              string
	// cast is set for an event that is not stored; only entry is valid then.
	cast bool
	// overdue is set for a held message that was announced before a repair read the log.
	overdue bool
}

var errNotOurs = errors.New("not a message of this log")

// parseLive parses a message that the publish script announced.
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

// publication converts an entry. An entry that cannot be decoded is marked as skipped, with the reason, and
// keeps its place.
func (a *arrival) publication(epoch, series string, live bool) *broker.Publication {
	p := &broker.Publication{
		Position: broker.Position{Epoch: epoch, Offset: a.offset}, Series: series, Time: a.time, Verdict: a.verdict,
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

// take puts a live message into the queue of a shard. It must not block, because it would delay all channels
// of the connection.
func (f *follower) take(queue *follow.Queue[live], message string) {
	if entry, ok := strings.CutPrefix(message, castMark); ok {
		if !queue.Put(live{f, arrival{cast: true, entry: entry}}, len(entry)) {
			f.log.stats.Unheard.Add(1)
		}
		return
	}
	a, err := parseLive(message)
	if err != nil {
		f.log.stats.Rejected.Add(1)
		return
	}
	if !queue.Put(live{f, a}, len(a.entry)) {
		f.log.stats.Slow.Add(1)
		f.Miss()
		f.log.trigger()
	}
}

// apply passes queued messages to their followers until the log is closed.
func (l *Log) apply(queue *follow.Queue[live]) {
	for m := range queue.All(l.ctx.Done()) {
		l.stats.Live.Add(1)
		m.follower.receive(m.arrival)
	}
}

// newFeed returns the feed, which works once startFeed has run.
func (l *Log) newFeed() *follow.Feed[arrival] {
	return follow.NewFeed(follow.Options[arrival]{
		Context: l.ctx, Go: l.running.Go, Line: l.line, Shards: l.opt.FeedShards,
		Repairs: l.repairs, RepairTimeout: l.opt.RepairTimeout, AttachTimeout: follow.AttachTimeout(l.opt.PublishTimeout), Logger: l.opt.Logger, Wake: l.trigger,
		Passed: func(shard int) (put, done uint64) { return l.queues.Passed(shard) },
	}, &l.stats)
}

// startFeed creates the queues and starts the goroutines of the shards.
func (l *Log) startFeed() {
	l.queues = follow.NewQueues[live](l.opt.FeedShards, l.opt.FeedQueue, l.opt.FeedBytes)
	for _, q := range l.queues {
		l.running.Go(func() { l.apply(q) })
	}
}

// Attach implements [broker.Feed].
func (l *Log) Attach(ctx context.Context, app, channel string, sink broker.Sink) (broker.Attachment, error) {
	if _, err := l.app(app); err != nil {
		return nil, err
	}
	return l.follow.Attach(ctx, app, channel, l.keys.channel(app, channel).live, sink)
}
