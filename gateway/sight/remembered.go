package sight

import (
	"context"

	"github.com/sluicehq/sluice/broker"
)

// rememberedFirst and rememberedMost are how many publications are searched for the event that a cache channel
// keeps, at first and in all. Client events, which are not kept, may have followed it.
const rememberedFirst, rememberedMost = 100, 20_000

// Remembered returns the event that a cache channel keeps, among those up to an offset, 0 for all, however old
// it is; nil if there is none. The app's limits do not apply. Errors are those of [broker.History.Read].
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
