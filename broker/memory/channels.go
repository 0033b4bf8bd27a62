package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/broker"
)

// Channels implements [broker.Listing].
func (l *Log) Channels(ctx context.Context, app, prefix string) ([]string, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return nil, err
	}
	now := l.opts.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, broker.ErrClosed
	}
	a.expire(now)
	var out []string
	for name, ch := range a.channels {
		if ch.log.len() > 0 && strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

var _ broker.Listing = (*Log)(nil)
