package redis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

// publishOnCluster looks up publishers' ids before the script and stores them after it, because the ids
// belong to the app and the script reaches only the channel's slot. Two concurrent publishes of one id to
// different channels are both stored.
func (l *Log) publishOnCluster(ctx context.Context, a *appLog, events []broker.Outgoing, receipts []broker.Receipt,
	index func(int) int, n int, channel string, keys, args []string) error {
	stored, err := l.lookUp(ctx, a, events, index, n)
	if err != nil {
		return err
	}
	var left []int
	leftKeys, leftArgs := keys[:3:3], args[:publishArgs:publishArgs]
	for i := range n {
		r := index(i)
		if offset := stored[i]; offset > 0 {
			receipts[r] = broker.Receipt{Position: broker.Position{Epoch: a.currentEpoch(), Offset: offset}, Duplicate: true}
			l.stats.Published.Add(1)
			l.stats.Duplicates.Add(1)
			continue
		}
		left = append(left, r)
		leftKeys = append(leftKeys, keys[3+i])
		leftArgs = append(leftArgs, args[publishArgs+perEvent*i:publishArgs+perEvent*(i+1)]...)
	}
	if len(left) == 0 {
		return nil
	}
	got, err := l.run(ctx, a, leftKeys, leftArgs)
	if err != nil {
		return err
	}
	if err := l.settle(a, channel, got, events, receipts, len(left), func(i int) int { return left[i] }); err != nil {
		return err
	}
	for _, r := range left {
		if id := events[r].Event.DedupID; id != "" {
			// The events are stored, so the publish does not fail because of this.
			err := l.pub.Do(ctx, l.pub.B().Set().Key(l.keys.dedup(a.opt.ID)+digest(id)).
				Value(strconv.FormatUint(receipts[r].Offset, 10)).Nx().Px(l.opt.DedupWindow).Build()).Error()
			if err != nil && !rueidis.IsRedisNil(err) {
				l.lines.Warn(l.opt.Logger, "ids of "+a.opt.ID, "an id for duplicates could not be noted", "app", a.opt.ID, "error", err)
			}
		}
	}
	return nil
}

// lookUp returns the offsets of events whose ids are known in the app, 0 for the others.
func (l *Log) lookUp(ctx context.Context, a *appLog, events []broker.Outgoing, index func(int) int, n int) ([]uint64, error) {
	stored := make([]uint64, n)
	root := l.keys.dedup(a.opt.ID)
	var at []int
	for i := range n {
		if events[index(i)].Event.DedupID != "" {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return stored, nil
	}
	err := l.repeat(ctx, a, root, func(ctx context.Context) error {
		commands := make(rueidis.Commands, len(at))
		for j, i := range at {
			commands[j] = l.pub.B().Get().Key(root + digest(events[index(i)].Event.DedupID)).Build()
		}
		for j, r := range l.pub.DoMulti(ctx, commands...) {
			offset, err := r.AsUint64()
			if err != nil && !rueidis.IsRedisNil(err) {
				return err
			}
			stored[at[j]] = offset
		}
		return nil
	})
	return stored, err
}
