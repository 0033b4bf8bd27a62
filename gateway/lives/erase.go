package lives

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

const (
	// patience is how long a table that cannot answer is asked again, and pause the time between two
	// attempts.
	patience = 5 * time.Second
	pause    = 50 * time.Millisecond
)

var (
	// ErrNotErasable: the log cannot remove events on request.
	ErrNotErasable = errors.New("this log removes nothing when it is told to")
	// ErrTooMany: an app has purged or reset as many channels as it may.
	ErrTooMany = errors.New("this app has purged or reset as many channels as it may")
)

// Reset is the result of resetting a channel.
type Reset struct {
	broker.Erased
	// Previous and Present are the stream ids before and after.
	Previous, Present string
}

// Purge implements [broker.Eraser]. Every gateway forgets what was removed. Further errors are
// [ErrNotErasable] and [ErrTooMany].
func (l *Log) Purge(ctx context.Context, app, channel string, before uint64) (broker.Erased, error) {
	done, err := l.erase(ctx, place{app, channel}, before, false)
	return done.Erased, err
}

// Reset removes the past of a channel and begins a new life of it, with another stream id. Errors are those
// of Purge.
func (l *Log) Reset(ctx context.Context, app, channel string) (Reset, error) {
	return l.erase(ctx, place{app, channel}, 0, true)
}

// Began returns when the present life of a channel began, zero for the first one.
func (l *Log) Began(app, channel string) time.Time {
	if r := l.of(app, channel); r != nil && r.Began > 0 {
		return time.UnixMilli(r.Began)
	}
	return time.Time{}
}

// erase removes everything below an offset, 0 for everything, and then writes a record. It does so even if
// there was nothing to remove, because an earlier attempt may have stopped before the record.
func (l *Log) erase(ctx context.Context, p place, before uint64, anew bool) (done Reset, err error) {
	eraser, ok := l.Log.(broker.Eraser)
	if !ok {
		return done, ErrNotErasable
	}
	if l.of(p.app, p.channel) == nil {
		// Nothing is removed if no record of it could be written.
		if err = l.admits(p.app); err != nil {
			return done, err
		}
	}
	now, until, err := l.extent(ctx, p)
	if err != nil {
		return done, err
	}
	next := record{Epoch: now.Epoch, Void: now.Messages == 0, Until: until}
	if !next.Void {
		if before == 0 || before > now.Newest {
			before = now.Newest + 1
		}
		next.Below = before
		if done.Erased, err = eraser.Purge(ctx, p.app, p.channel, before); err != nil {
			return done, err
		}
	}
	was, is, err := l.write(ctx, p, next, anew)
	if err != nil {
		return done, err
	}
	done.Previous, done.Present = was.id(now.Epoch), is.id(now.Epoch)
	l.learn(p, is)
	return done, nil
}

// extent returns what the log has of a channel. If that is nothing, until is the offset up to which it has
// nothing: events that are published while the record is written are not covered by it.
func (l *Log) extent(ctx context.Context, p place) (now broker.Retained, until uint64, err error) {
	now, err = l.Log.Retained(ctx, p.app, p.channel)
	if err != nil || now.Messages > 0 {
		return now, 0, err
	}
	follows, err := l.Log.Attach(ctx, p.app, p.channel, nobody{})
	if err != nil {
		return now, 0, err
	}
	end := follows.Position()
	follows.Detach()
	now, err = l.Log.Retained(ctx, p.app, p.channel)
	if err != nil || now.Messages > 0 || end.Epoch != now.Epoch {
		return now, 0, err
	}
	return now, end.Offset, nil
}

// nobody is a sink that ignores everything. It attaches to learn the position of a channel.
type nobody struct{}

func (nobody) Publication(*broker.Publication) {}
func (nobody) Gap(broker.Gap)                  {}

// writing is a record of a channel that is to be replaced.
type writing struct {
	place
	next record
	// anew is the mark of the new life, empty for a purge.
	anew string
	// before is the previous record, nil for none, and is the new one.
	before, is *record
}

// write replaces the record of a channel. It retries while the table cannot answer, because its servers may
// be electing a leader.
func (l *Log) write(ctx context.Context, p place, next record, anew bool) (was, is *record, err error) {
	w := &writing{place: p, next: next}
	if anew { // Once for all attempts, so that swap recognizes a stored one.
		w.anew, w.next.Began = strings.ToLower(rand.Text()[:8]), time.Now().UnixMilli()
	}
	for until := time.Now().Add(patience); ; {
		err = l.swap(ctx, w)
		switch {
		case err == nil:
			return w.before, w.is, nil
		case errors.Is(err, kv.ErrConflict):
			continue
		case !errors.Is(err, kv.ErrUnavailable) || time.Now().After(until):
			return nil, nil, unavailable(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, unavailable(err)
		}
	}
}

// swap tries once. It returns [kv.ErrConflict] if another gateway wrote meanwhile.
func (l *Log) swap(ctx context.Context, w *writing) error {
	var was *record
	have, err := l.table.Read(ctx, w.key())
	switch {
	case errors.Is(err, kv.ErrNotFound):
	case err != nil:
		return err
	default:
		was, _ = parse(have.Value)
	}
	if w.is != nil && was != nil && *was == *w.is {
		return nil // An earlier attempt was stored although it returned an error.
	}
	// A table that lost records may not have what is known here.
	if known := l.of(w.app, w.channel); known != nil && (was == nil || known.newer(was)) {
		was = known
	}
	if was != nil && w.anew != "" && was.Mark == w.anew {
		w.is = was
		return nil // As above, and the record has already been learned here.
	}
	if was == nil {
		if err = l.admits(w.app); err != nil {
			return err
		}
	}
	is := w.next
	if is.follow(was); w.anew != "" {
		is.Mark, is.Start, is.Began = w.anew, is.Below, w.next.Began
	}
	if n := len(is.id(is.Epoch)); n > maxID {
		return fmt.Errorf("the stream id would have %d bytes, the limit is %d", n, maxID)
	}
	w.before, w.is = was, &is
	_, err = l.table.Swap(ctx, w.key(), is.encode(), 0, have.Revision)
	return err
}

// follow makes a record the successor of another.
func (r *record) follow(was *record) {
	r.Number = 1
	if was == nil {
		return
	}
	r.Number, r.Mark, r.Began = was.Number+1, was.Mark, was.Began
	if was.Epoch == r.Epoch {
		r.Below, r.Start = max(r.Below, was.Below), was.Start
	}
}

// unavailable turns an outage of the table into [broker.ErrUnavailable].
func unavailable(err error) error {
	if errors.Is(err, kv.ErrUnavailable) {
		return fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return err
}
