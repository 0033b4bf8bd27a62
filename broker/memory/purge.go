package memory

import (
	"context"

	"github.com/sluicehq/sluice/broker"
)

var _ broker.Eraser = (*Log)(nil)

// Purge implements [broker.Eraser].
func (l *Log) Purge(ctx context.Context, app, name string, before uint64) (broker.Erased, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return broker.Erased{}, err
	}
	now := l.opts.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return broker.Erased{}, broker.ErrClosed
	}
	a.expire(now)
	var out broker.Erased
	ch := a.channels[name]
	for ch != nil && ch.log.len() > 0 {
		oldest := ch.log.at(0)
		if before > 0 && oldest.pub.Offset >= before {
			break
		}
		out.Messages++
		out.Bytes += uint64(len(oldest.pub.Data))
		a.evict(ch)
	}
	return out, nil
}
