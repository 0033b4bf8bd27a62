package lives

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/kv"
)

// Log is a log in which channels can begin a new life. Make it with [New]. Closing it does not close the log
// below. Safe for concurrent use.
type Log struct {
	broker.Log
	table  kv.Table
	logger *slog.Logger
	apps   func() int

	mu rank.Mutex[rank.Lives]
	// records has the channels that were purged or reset, and attached the followers of channels.
	records map[place]*record
	// byApp has the number of records of each app.
	byApp    map[string]int
	attached map[place][]*follower
	// some says that there are records.
	some atomic.Bool

	// again requests a reading of the table, and heard that pending is applied.
	again, heard chan struct{}
	pending      map[place]*record
	stop         func()
	cancel       context.CancelFunc
	running      sync.WaitGroup
}

var (
	_ broker.Log     = (*Log)(nil)
	_ broker.Eraser  = (*Log)(nil)
	_ broker.Listing = (*Log)(nil)
)

// New reads the records of all channels and follows them until Close. apps returns the number of apps that
// share [MaxChannels]. It is called with a lock held, and must not wait. Errors: those of the table, or of
// ctx.
func New(ctx context.Context, log broker.Log, table kv.Table, apps func() int, logger *slog.Logger) (*Log, error) {
	l := &Log{
		Log: log, table: table, logger: logger, apps: apps, byApp: map[string]int{}, records: map[place]*record{}, attached: map[place][]*follower{},
		again: make(chan struct{}, 1), heard: make(chan struct{}, 1), pending: map[place]*record{},
	}
	var err error
	if l.stop, err = table.Watch(pattern, watcher{l}); err != nil {
		return nil, fmt.Errorf("following the lives of channels: %w", err)
	}
	if err = l.sync(ctx); err != nil {
		l.stop()
		return nil, fmt.Errorf("reading the lives of channels: %w", err)
	}
	ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(func() { l.follow(ctx) })
	return l, nil
}

// Close ends following. The log below stays open.
func (l *Log) Close() error {
	l.stop()
	l.cancel()
	l.running.Wait()
	return nil
}

// Broker returns the log with all interfaces of the one below.
func (l *Log) Broker() broker.Log {
	if ranking, ok := l.Log.(broker.Ranking); ok {
		return ranked{l, ranking}
	}
	return l
}

// ranked is a log that can count publications without reading them.
type ranked struct {
	*Log
	broker.Ranking
}

// of returns the record of a channel, nil if there is none.
func (l *Log) of(app, channel string) *record {
	if !l.some.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[place{app, channel}]
}

// ID returns the stream id of a channel in an epoch of the log.
func (l *Log) ID(app, channel, epoch string) string { return l.of(app, channel).id(epoch) }

// Publish implements [broker.Publisher].
func (l *Log) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	receipts, err := l.Log.Publish(ctx, app, events...)
	if err == nil && l.some.Load() {
		for i := range receipts {
			receipts[i].Epoch = l.ID(app, events[i].Channel, receipts[i].Epoch)
		}
	}
	return receipts, err
}

// Read implements [broker.History]. A replica of the log that is behind may still have what was removed. That
// is left out.
func (l *Log) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	page, err := l.Log.Read(ctx, app, channel, q)
	if err != nil {
		return nil, err
	}
	r := l.of(app, channel)
	gone := func(p *broker.Publication) bool { return r.lacks(p.Epoch, p.Offset) }
	switch i := slices.IndexFunc(page.Publications, gone); {
	case i < 0:
	case q.NewestFirst:
		page.Publications, page.More = page.Publications[:i], false
	case page.More:
		if page, err = l.readAbove(ctx, place{app, channel}, q, r); err != nil {
			return nil, err
		}
	default:
		page.Publications = slices.DeleteFunc(page.Publications, gone)
	}
	r.name(page)
	return page, nil
}

// readAbove reads from the lowest offset at which something may exist.
func (l *Log) readAbove(ctx context.Context, at place, q broker.Query, r *record) (*broker.Page, error) {
	above := q
	above.From = max(q.From, r.floor())
	if q.To > 0 && above.From > q.To {
		now, err := l.Log.Retained(ctx, at.app, at.channel)
		return &broker.Page{Retained: now}, err
	}
	page, err := l.Log.Read(ctx, at.app, at.channel, above)
	if err != nil || page.Retained.Epoch == r.Epoch {
		return page, err
	}
	// The log has another epoch, in which nothing was removed.
	return l.Log.Read(ctx, at.app, at.channel, q)
}

// After implements [broker.History].
func (l *Log) After(ctx context.Context, app, channel string, pos broker.Position, limit int) (*broker.Page, error) {
	r := l.of(app, channel)
	epoch, current := r.epoch(pos.Epoch)
	if pos.Offset == 0 {
		pos.Offset = r.before(epoch)
	}
	switch {
	case !current:
		return nil, fmt.Errorf("%w: the channel was reset", broker.ErrEpochChanged)
	case r.removed(epoch, pos.Offset+1):
		return nil, fmt.Errorf("%w: offset %d, removed below %d", broker.ErrPositionExpired, pos.Offset, r.Below)
	}
	pos.Epoch = epoch
	page, err := l.Log.After(ctx, app, channel, pos, limit)
	if err == nil {
		r.name(page)
	}
	return page, err
}

// Retained implements [broker.History].
func (l *Log) Retained(ctx context.Context, app, channel string) (broker.Retained, error) {
	now, err := l.Log.Retained(ctx, app, channel)
	if err == nil {
		now.Epoch = l.ID(app, channel, now.Epoch)
	}
	return now, err
}

// Lost implements [broker.History]. What a reset removed belongs to an earlier life.
func (l *Log) Lost(ctx context.Context, app, channel string, since time.Time) (bool, error) {
	r := l.of(app, channel)
	if r == nil || r.Mark == "" {
		return l.Log.Lost(ctx, app, channel, since)
	}
	if since.IsZero() && r.Start > 0 && r.Below > r.Start {
		return true, nil
	}
	if began := time.UnixMilli(r.Began); since.Before(began) {
		since = began
	}
	return l.Log.Lost(ctx, app, channel, since)
}

// Channels implements [broker.Listing].
func (l *Log) Channels(ctx context.Context, app, prefix string) ([]string, error) {
	listing, ok := l.Log.(broker.Listing)
	if !ok {
		return nil, fmt.Errorf("%w: the log does not list its channels", broker.ErrUnavailable)
	}
	return listing.Channels(ctx, app, prefix)
}

// name sets the stream id in a page. Publications are copied, because they may be shared.
func (r *record) name(page *broker.Page) {
	if r == nil || r.Mark == "" {
		return
	}
	page.Retained.Epoch = r.id(page.Retained.Epoch)
	for i, p := range page.Publications {
		page.Publications[i] = r.publication(p)
	}
}

// publication returns a copy with the stream id. It shares the bytes.
func (r *record) publication(p *broker.Publication) *broker.Publication {
	if r == nil || r.Mark == "" {
		return p
	}
	named := *p
	named.Epoch = r.id(p.Epoch)
	return &named
}
