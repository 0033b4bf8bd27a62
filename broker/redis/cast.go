package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

// castMark begins a cast message. The messages of stored events begin with a number.
const castMark = "cast "

// Cast implements [broker.Caster]. The events use the pub/sub channels of stored events.
func (l *Log) Cast(ctx context.Context, app string, events ...broker.Outgoing) error {
	a, err := l.app(app)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.ctx.Err() != nil {
		return broker.ErrClosed
	}
	if err := l.checkSizes(events); err != nil {
		return err
	}
	commands := make(rueidis.Commands, len(events))
	for i, e := range events {
		live, message := l.keys.channel(a.opt.ID, e.Channel).live, castMark+rueidis.BinaryString(encode(e.Event))
		if l.opt.Cluster {
			commands[i] = l.pub.B().Spublish().Channel(live).Message(message).Build()
		} else {
			commands[i] = l.pub.B().Publish().Channel(live).Message(message).Build()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(l.opt.PublishTimeout, attemptTimeout))
	defer cancel()
	for _, r := range l.pub.DoMulti(ctx, commands...) {
		if err := r.Error(); err != nil {
			return failed("casting", err)
		}
	}
	return nil
}

// checkSizes returns an error for an event that is too large for the log.
func (l *Log) checkSizes(events []broker.Outgoing) error {
	for _, e := range events {
		if len(e.Event.Data) > l.maxData() {
			return fmt.Errorf("%w: data has %d bytes, the limit is %d", broker.ErrTooLarge, len(e.Event.Data), l.maxData())
		}
		if len(e.Event.Tags) > maxTags {
			return fmt.Errorf("%w: %d tags, the limit is %d", broker.ErrTooLarge, len(e.Event.Tags), maxTags)
		}
	}
	return nil
}

// hear delivers a cast event to the sinks.
func (f *follower) hear(entry string) {
	ev, err := decode(entry)
	if err != nil || ev.MessageID == "" {
		f.log.stats.Rejected.Add(1)
		return
	}
	f.Hear(&broker.Publication{Event: ev, Time: f.log.Now().Round(0).UTC().Truncate(time.Microsecond)})
}
