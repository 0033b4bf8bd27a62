package sight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
)

// ErrOff is the error of reading a channel whose past must not be read.
var ErrOff = errors.New("the history of the channel is not to be read")

// Log is a log as readers may see it. Both fields are required. It is safe for concurrent use.
type Log struct {
	History broker.History
	// Now is the clock of the log, to which the ages of publications refer.
	Now func() time.Time
}

// Owed reads what a subscription must get after its position. Whether it may begin there was decided before;
// everything after its beginning belongs to it, whatever the app's limits are. Errors are those of
// [broker.History.After].
func (l Log) Owed(ctx context.Context, app, channel string, after broker.Position, limit int) (*broker.Page, error) {
	return l.History.After(ctx, app, channel, after, limit)
}

// Above returns the number of publications of a channel above an offset, without reading them and without the
// app's limits. It reports false if the log cannot count, or not at the moment.
func (l Log) Above(ctx context.Context, app, channel string, place uint64) (n uint64, ok bool) {
	ranking, ok := l.History.(broker.Ranking)
	if !ok {
		return 0, false
	}
	n, err := ranking.CountFrom(ctx, app, channel, place+1)
	return n, err == nil
}

// View is the readable part of one channel at one moment.
type View struct {
	Bound
	log     broker.History
	app     string
	channel string
}

// Page is a page that was read through a view. Its Retained is that of a log which keeps only the readable part.
type Page struct {
	broker.Page
	// Kept is what the log itself keeps.
	Kept broker.Retained
	// Emptied is set if the log keeps nothing of the channel, and the requested events are known to be gone, see
	// [View.Emptied].
	Emptied bool
}

// Look finds out which part of a channel is readable. A channel without limits costs nothing. For others the log
// is read, because only it knows which events are the newest. Errors are those of [broker.History.Read].
func (l Log) Look(ctx context.Context, a *app.App, channel string) (*View, error) {
	v := &View{log: l.History, app: a.ID, channel: channel}
	limit := a.Now().Readings.Of(channel)
	if v.Off = limit.Off; v.Off {
		return v, nil
	}
	var err error
	if limit.Messages > 0 {
		if v.Bound, err = v.newest(ctx, limit.Messages); err != nil {
			return nil, err
		}
	}
	if limit.Age > 0 {
		err = v.young(ctx, l.Now().Add(-limit.Age))
	}
	return v, err
}

// Read is [broker.History.Read] for the readable part. The error may also be [ErrOff].
func (v *View) Read(ctx context.Context, q broker.Query) (*Page, error) {
	if v.Off {
		return nil, ErrOff
	}
	q, some := v.Query(q)
	if !some {
		now, err := v.log.Retained(ctx, v.app, v.channel)
		return &Page{Page: broker.Page{Retained: v.Bound.Retained(now)}, Kept: now}, err
	}
	return v.narrow(v.log.Read(ctx, v.app, v.channel, q))
}

// After is [broker.History.After] for the readable part. A position has expired if an event after it is not
// readable. The error may also be [ErrOff].
func (v *View) After(ctx context.Context, pos broker.Position, limit int) (*Page, error) {
	if v.Off {
		return nil, ErrOff
	}
	page, err := v.narrow(v.log.After(ctx, v.app, v.channel, pos, limit))
	if err == nil && len(page.Publications) > 0 && !v.Sees(page.Publications[0].Offset) {
		return nil, fmt.Errorf("%w: what follows %d may not be read", broker.ErrPositionExpired, pos.Offset)
	}
	return page, err
}

// Back reads backwards from the newest publications that a query selects, up to its limit; if a page ends early
// because of its size, it reads further pages. q must have NewestFirst. It returns the last page, which is the
// oldest, and the number of publications on all pages. Errors are those of Read.
func (v *View) Back(ctx context.Context, q broker.Query) (last *Page, found int, err error) {
	for {
		page, err := v.Read(ctx, q)
		switch {
		case err != nil:
			return nil, 0, err
		case last != nil && page.Retained.Epoch != last.Retained.Epoch:
			return nil, 0, broker.ErrEpochChanged
		case last != nil && len(page.Publications) == 0: // retention has removed them meanwhile
			last.More = false
			return last, found, nil
		}
		last, found = page, found+len(page.Publications)
		q.Limit -= len(page.Publications)
		if !page.More || q.Limit <= 0 || len(page.Publications) == 0 {
			return last, found, nil
		}
		q.To = page.Publications[len(page.Publications)-1].Offset - 1
	}
}

// Cuts reports whether publications that were stored since a time, or ever for the zero time, are not readable,
// or are known to be gone. page was read through the view, to its end. Errors are those of
// [broker.History.Read].
func (v *View) Cuts(ctx context.Context, page *Page, since time.Time) (bool, error) {
	switch {
	case since.IsZero() && page.Retained.Oldest != page.Kept.Oldest, v.Cut(page.Kept, 0, since) == CutByLimit:
		return true, nil
	case !since.IsZero() && page.Kept.Messages > 0 && page.Kept.OldestTime.Before(since):
		return false, nil
	}
	return v.log.Lost(ctx, v.app, v.channel, since)
}

// Emptied reports whether publications from an offset or a time on are known to be gone from a channel of which
// the log keeps nothing. With zero values nothing can be missing. The times of these publications are no longer
// known, so any time in the past counts. page was read through the view. Errors are those of
// [broker.History.Read].
func (v *View) Emptied(ctx context.Context, page *Page, from uint64, since, now time.Time) (bool, error) {
	if page.Kept.Messages > 0 || from == 0 && since.IsZero() {
		return false, nil
	}
	if lost, err := v.log.Lost(ctx, v.app, v.channel, time.Time{}); err != nil || !lost {
		return false, err
	}
	if !since.IsZero() && !since.After(now) {
		return true, nil
	}
	if from == 0 {
		return false, nil
	}
	_, err := v.log.After(ctx, v.app, v.channel, broker.Position{Epoch: page.Kept.Epoch, Offset: from - 1}, 1)
	switch {
	case errors.Is(err, broker.ErrPositionExpired):
		return true, nil
	case errors.Is(err, broker.ErrPositionUnknown), errors.Is(err, broker.ErrEpochChanged):
		return false, nil
	}
	return false, err
}

// State returns the readable part of what the log keeps, and what the log itself keeps.
func (v *View) State(ctx context.Context) (seen, kept broker.Retained, err error) {
	if v.Off {
		return seen, kept, ErrOff
	}
	kept, err = v.log.Retained(ctx, v.app, v.channel)
	return v.Bound.Retained(kept), kept, err
}

func (v *View) narrow(page *broker.Page, err error) (*Page, error) {
	if err != nil {
		return nil, err
	}
	out := &Page{Page: *page, Kept: page.Retained}
	out.Retained = v.Bound.Retained(page.Retained)
	return out, nil
}

// newest returns the bound of the newest events, messages of them.
func (v *View) newest(ctx context.Context, messages int) (b Bound, err error) {
	q := broker.Query{NewestFirst: true, Limit: messages}
	for q.Limit > 0 {
		page, err := v.log.Read(ctx, v.app, v.channel, q)
		if err != nil || !page.More || len(page.Publications) == 0 {
			return Bound{}, err
		}
		// A page of large events is shorter than requested.
		last := page.Publications[len(page.Publications)-1]
		b = Bound{From: last.Offset, Time: last.Time, Messages: b.Messages + uint64(len(page.Publications))}
		q.Limit -= len(page.Publications)
		q.To = last.Offset - 1
	}
	return b, nil
}

// countPage is how many events are read to count them if the log cannot count.
const countPage = 1000

// young raises the bound to the first event that was stored at since or later.
func (v *View) young(ctx context.Context, since time.Time) error {
	ranking, counts := v.log.(broker.Ranking)
	q := broker.Query{Since: since, Limit: countPage}
	if counts {
		q.Limit = 1
	}
	page, err := v.log.Read(ctx, v.app, v.channel, q)
	switch {
	case err != nil:
		return err
	case len(page.Publications) == 0:
		v.Bound = Bound{From: page.Retained.Newest + 1}
		return nil
	}
	first := page.Publications[0]
	if first.Offset <= v.From {
		return nil
	}
	v.Bound = Bound{From: first.Offset, Time: first.Time}
	switch {
	case counts:
		v.Messages, err = ranking.CountFrom(ctx, v.app, v.channel, first.Offset)
	case !page.More:
		v.Messages = uint64(len(page.Publications))
	}
	return err
}
