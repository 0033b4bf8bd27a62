package sight

import (
	"context"

	"github.com/sluicehq/sluice/broker"
)

// rememberedFirst and rememberedMost are how many publications are looked through for what a cache channel
// remembers, at first and in all: client events, which are not remembered, may have come after it.
const rememberedFirst, rememberedMost = 100, 20_000

// Remembered is what a cache channel remembers of what it has up to an offset, 0 for all, however old that
// is; nil if nothing. Bounds of readers do not concern it. Errors are those of [broker.History.Read].
func (l Log) Remembered(ctx context.Context, app, channel string, to uint64) (*broker.Publication, error) {
	epoch, limit := "", rememberedFirst
	for seen := 0; seen < rememberedMost; limit = broker.MaxLimit {
		page, err := l.History.Read(ctx, app, channel, broker.Query{NewestFirst: true, To: to, Limit: limit, Bare: true})
		if err != nil || len(page.Publications) == 0 {
			return nil, err
		}
		for _, p := range page.Publications {
			switch {
			case epoch != "" && p.Epoch != epoch:
				return nil, nil
			case p.Cacheable():
				return p, nil
			}
			epoch, to = p.Epoch, p.Offset-1
		}
		if seen += len(page.Publications); to == 0 {
			return nil, nil
		}
	}
	return nil, nil
}
