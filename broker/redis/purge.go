package redis

import (
	"context"
	"strconv"

	"github.com/sluicehq/sluice/broker"
)

var _ broker.Eraser = (*Log)(nil)

// weighed is how many of the entries to be removed are read, to estimate their size.
const weighed = 256

// Purge implements [broker.Eraser]. The hash of the channel keeps its newest offset, and each entry names the
// one before it, so readers notice the removal.
func (l *Log) Purge(ctx context.Context, app, channel string, before uint64) (broker.Erased, error) {
	a, err := l.forReading(ctx, app)
	if err != nil {
		return broker.Erased{}, err
	}
	k := l.keys.channel(app, channel)
	r, err := l.scan(ctx, k, scanQuery{from: 1, to: max(before, 1) - 1, most: weighed, bytes: broker.PageBytes})
	if err != nil || r.messages == 0 {
		return broker.Erased{}, err
	}
	if before == 0 || before > r.newest.offset {
		before = r.newest.offset + 1
	}
	var removed int64
	err = l.attempt(ctx, func(ctx context.Context) (err error) {
		n, err := purgeScript.Exec(ctx, l.pub, []string{k.stream}, []string{strconv.FormatUint(before, 10)}).AsInt64()
		removed += n
		return err
	})
	if err != nil {
		return broker.Erased{}, failed("purging", err)
	}
	return broker.ErasedOf(uint64(removed), publications(r.entries, a.currentEpoch(), channel)), nil
}
