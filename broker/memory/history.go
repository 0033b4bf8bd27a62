package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Read implements [broker.History].
func (l *Log) Read(ctx context.Context, app, name string, q broker.Query) (*broker.Page, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	var entries []*entry
	page := &broker.Page{}
	err = a.read(name, func(ch *channel) error {
		lo, hi := 0, ch.log.len()
		if q.From > 0 {
			lo = max(lo, ch.above(q.From-1))
		}
		if q.To > 0 {
			hi = min(hi, ch.above(q.To))
		}
		if !q.Since.IsZero() {
			lo = max(lo, ch.since(q.Since))
		}
		if !q.Until.IsZero() {
			hi = min(hi, ch.younger(q.Until))
		}
		entries, page.More = ch.slice(lo, hi, q.Limit, q.NewestFirst)
		page.Retained = ch.retained(a.epoch)
		return nil
	})
	if err != nil {
		return nil, err
	}
	page.Publications = historic(entries)
	return page, nil
}

// After implements [broker.History]. The proof is the offset that the channel last evicted, which it
// remembers.
func (l *Log) After(ctx context.Context, app, name string, pos broker.Position, limit int) (*broker.Page, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return nil, err
	}
	if err := broker.CheckLimit(limit); err != nil {
		return nil, err
	}
	var entries []*entry
	page := &broker.Page{}
	err = a.read(name, func(ch *channel) error {
		switch {
		case pos.Epoch != a.epoch:
			return broker.ErrEpochChanged
		case pos.Offset > a.counter:
			return fmt.Errorf("%w: offset %d, newest %d", broker.ErrPositionUnknown, pos.Offset, a.counter)
		case pos.Offset < ch.evicted:
			return fmt.Errorf("%w: offset %d, removed up to %d", broker.ErrPositionExpired, pos.Offset, ch.evicted)
		}
		entries, page.More = ch.slice(ch.above(pos.Offset), ch.log.len(), limit, false)
		page.Retained = ch.retained(a.epoch)
		return nil
	})
	if err != nil {
		return nil, err
	}
	page.Publications = historic(entries)
	return page, nil
}

// Retained implements [broker.History].
func (l *Log) Retained(ctx context.Context, app, name string) (broker.Retained, error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return broker.Retained{}, err
	}
	var r broker.Retained
	err = a.read(name, func(ch *channel) error {
		r = ch.retained(a.epoch)
		return nil
	})
	return r, err
}

// Lost implements [broker.History]. It is exact as long as the channel has state.
func (l *Log) Lost(ctx context.Context, app, name string, since time.Time) (lost bool, err error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return false, err
	}
	err = a.read(name, func(ch *channel) error {
		lost = !ch.lost.IsZero() && !ch.lost.Before(since)
		return nil
	})
	return lost, err
}

// CountFrom implements [broker.Ranking].
func (l *Log) CountFrom(ctx context.Context, app, name string, offset uint64) (n uint64, err error) {
	a, err := l.app(ctx, app)
	if err != nil {
		return 0, err
	}
	err = a.read(name, func(ch *channel) error {
		n = uint64(ch.log.len() - ch.above(max(offset, 1)-1))
		return nil
	})
	return n, err
}

// read calls f with a channel while it holds the lock. A channel without state is represented by a temporary
// empty one.
func (a *appLog) read(name string, f func(*channel) error) error {
	now := a.log.opts.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return broker.ErrClosed
	}
	a.expire(now)
	ch := a.channels[name]
	if ch == nil {
		ch = &channel{evicted: a.freed}
	}
	return f(ch)
}

// slice returns up to limit of the entries with index lo <= i < hi, in the requested order, and whether there
// are more of them. It stops when they reach [broker.PageBytes].
func (c *channel) slice(lo, hi, limit int, backwards bool) (entries []*entry, more bool) {
	n := min(max(hi-lo, 0), limit)
	entries = make([]*entry, 0, n)
	for bytes := 0; len(entries) < n && bytes < broker.PageBytes; {
		at := lo + len(entries)
		if backwards {
			at = hi - 1 - len(entries)
		}
		e := c.log.at(at)
		entries = append(entries, e)
		bytes += e.pub.Bytes()
	}
	return entries, hi-lo > len(entries)
}

// historic returns copies of the entries' publications without Prev, because the previous publication may be
// gone. Publications are immutable, so no lock is needed.
func historic(entries []*entry) []*broker.Publication {
	copies := make([]broker.Publication, len(entries))
	pubs := make([]*broker.Publication, len(entries))
	for i, e := range entries {
		copies[i] = e.pub
		copies[i].Prev = 0
		pubs[i] = &copies[i]
	}
	return pubs
}
