package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// streamOf asks the leader. While servers elect one, nobody may answer, so it is not waited for
// longer than for an acknowledgement, or a copy does, see [led].
func (l *Log) streamOf(ctx context.Context, a *appLog) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	s, err := l.admin.Stream(ctx, a.stream)
	if err != nil {
		return nil, unavailable("asking for the stream", err)
	}
	return s, led(s.CachedInfo())
}

func (l *Log) streamInfo(ctx context.Context, a *appLog) (*jetstream.StreamInfo, error) {
	s, err := l.streamOf(ctx, a)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// Read implements [broker.History].
func (l *Log) Read(ctx context.Context, app, channel string, q broker.Query) (page *broker.Page, err error) {
	s, err := l.span(app, channel)
	if err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = l.patiently(ctx, func() (err error) {
		page, err = s.choose(ctx, q)
		return err
	})
	return page, err
}

// choose reads a page, unless the log cannot be read.
func (s span) choose(ctx context.Context, q broker.Query) (*broker.Page, error) {
	if q.Bare && q.NewestFirst && q.To > 0 && q.From == 0 && q.Since.IsZero() && q.Until.IsZero() {
		epoch := s.app.currentEpoch()
		got, ok, err := s.last(ctx, q.To, q.Limit)
		if err != nil {
			return nil, err
		}
		if ok {
			return &broker.Page{Publications: s.publications(got, epoch)}, nil
		}
	}
	return s.settled(ctx, func(now broker.Retained) (*broker.Page, error) { return s.spread(now).read(ctx, q) }, func(p *broker.Page, r broker.Retained) bool {
		return (q.NewestFirst || !p.More) && wants(q, r)
	})
}

// wants reports whether the newest message of the channel matches the query.
func wants(q broker.Query, r broker.Retained) bool {
	return r.Newest >= q.From && (q.To == 0 || r.Newest <= q.To) &&
		(q.Since.IsZero() || !r.NewestTime.Before(q.Since)) && (q.Until.IsZero() || !r.NewestTime.After(q.Until))
}

// read is one attempt to read a page.
func (s span) read(ctx context.Context, q broker.Query) (*broker.Page, error) {
	epoch := s.app.currentEpoch()
	from, some, err := s.begin(q.From, epoch)
	if err != nil || !some {
		return &broker.Page{}, err
	}
	to := q.To
	if to == 0 {
		to = maxOffset
	}
	if !q.Since.IsZero() {
		since, err := s.firstSince(ctx, q.Since)
		if err != nil {
			return nil, err
		}
		if since == maxOffset && s.app.copies.Load() > 1 && s.known.Newest > 0 && !s.known.NewestTime.Before(q.Since) {
			return nil, errStale
		}
		from = max(from, since)
	}
	if !q.Until.IsZero() {
		beyond, err := s.firstSince(ctx, q.Until.Add(1))
		if err != nil {
			return nil, err
		}
		if beyond == maxOffset && s.app.copies.Load() > 1 && s.known.NewestTime.After(q.Until) {
			return nil, errStale
		}
		if beyond <= to {
			to = beyond - 1
		}
	}
	page := &broker.Page{}
	if from > to {
		return page, nil
	}
	var got []stored
	var more bool
	if q.NewestFirst {
		w := s.walk(q.Limit, true, to+1)
		if got, more, err = w.backward(ctx, from, to, q.Limit); more {
			w.ended(true, got)
		}
	} else {
		got, more, err = s.forward(ctx, from, to, q.Limit)
	}
	if err != nil {
		return nil, err
	}
	page.More = more
	page.Publications = s.publications(got, epoch)
	return page, nil
}

// begin raises the offset from which to read to the oldest message of the leader, because a replica that is behind may have
// older ones that were removed. It reports false if the leader has no messages.
func (s span) begin(from uint64, epoch string) (begin uint64, some bool, err error) {
	switch {
	case s.app.copies.Load() < 2, s.known.Epoch == "":
		return max(from, 1), true, nil
	case s.known.Epoch != epoch:
		return 0, false, errStale // what is known of the leader belongs to another epoch
	case s.known.Newest == 0:
		return 0, false, s.unless(nil)
	}
	return max(from, s.known.Oldest), true, nil
}

func (s span) publications(got []stored, epoch string) []*broker.Publication {
	out := make([]*broker.Publication, len(got))
	for i := range got {
		// Publications of history do not have a predecessor.
		got[i].prev = 0
		if out[i] = got[i].pub; out[i] == nil {
			out[i] = s.log.publication(s.app, &got[i], epoch)
		}
	}
	return out
}

// CountFrom implements [broker.Ranking].
func (l *Log) CountFrom(ctx context.Context, app, channel string, offset uint64) (n uint64, err error) {
	s, err := l.span(app, channel)
	if err != nil {
		return 0, err
	}
	err = l.patiently(ctx, func() (err error) {
		_, n, err = s.probe(ctx, max(offset, 1))
		return err
	})
	return n, err
}

// After implements [broker.History].
func (l *Log) After(ctx context.Context, app, channel string, pos broker.Position, limit int) (page *broker.Page, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := l.span(app, channel)
	if err != nil {
		return nil, err
	}
	if err := broker.CheckLimit(limit); err != nil {
		return nil, err
	}
	err = l.patiently(ctx, func() (err error) {
		page, err = s.settled(ctx, func(now broker.Retained) (*broker.Page, error) { return s.spread(now).after(ctx, pos, limit) }, func(p *broker.Page, r broker.Retained) bool {
			return !p.More && r.Newest > pos.Offset
		})
		return err
	})
	return page, err
}

// after is one attempt to read the messages after a position.
func (s span) after(ctx context.Context, pos broker.Position, limit int) (*broker.Page, error) {
	epoch := s.app.currentEpoch()
	if pos.Epoch != epoch {
		return nil, fmt.Errorf("%w: it is %s now", broker.ErrEpochChanged, epoch)
	}
	from, some, err := s.begin(pos.Offset, epoch)
	if err != nil {
		return nil, err
	}
	var got []stored
	var more bool
	if some {
		if got, more, err = s.forward(ctx, from, maxOffset, limit+1); err != nil {
			return nil, err
		}
	}
	proven := len(got) > 0 && got[0].offset == pos.Offset
	if !proven {
		if proven, err = s.neverEvicted(ctx, pos.Offset); err != nil {
			return nil, err
		}
	}
	if !proven && pos.Offset > 0 && s.app.copies.Load() > 1 {
		m, found, err := s.log.reader.leaderGet(ctx, s.app.stream, getRequest{Seq: pos.Offset})
		if err != nil {
			return nil, err
		}
		if found && m.subject == s.subject {
			return nil, errStale
		}
	}
	if !proven {
		return nil, s.unless(broker.ErrPositionExpired)
	}
	if len(got) > 0 && got[0].offset == pos.Offset {
		got = got[1:]
	}
	if len(got) > limit {
		got, more = got[:limit], true
	}
	return &broker.Page{More: more, Publications: s.publications(got, epoch)}, nil
}

// unless returns err, which says that something is missing, or errStale if the leader may not have it yet.
func (s span) unless(err error) error {
	if s.app.copies.Load() > 1 && !s.app.leader.settled(time.Now()) {
		return errStale
	}
	return err
}

// neverEvicted proves that nothing is missing after a position at which the channel has no message: the stream reaches back
// to it, no purge removed later messages, and the channel never reached its limit.
func (s span) neverEvicted(ctx context.Context, offset uint64) (bool, error) {
	// The leader must count them, because a replica that is behind may not have reached the limit yet.
	info, count, err := s.count(ctx)
	if err != nil {
		return false, err
	}
	if offset > info.State.LastSeq {
		return false, s.unless(broker.ErrPositionUnknown)
	}
	limit, err := s.log.leastKept(ctx, s.app, info)
	if err != nil {
		return false, err
	}
	floor, err := s.cut(ctx, info)
	if err != nil {
		return false, err
	}
	return offset+1 >= max(info.State.FirstSeq, floor) && (limit == 0 || int64(count) < limit), nil
}

// Lost implements [broker.History]. Messages that a stream removed by age or size may belong to any channel, so they count
// for this one only if the query asks for more than is kept.
func (l *Log) Lost(ctx context.Context, app, channel string, since time.Time) (lost bool, err error) {
	s, err := l.span(app, channel)
	if err != nil {
		return false, err
	}
	err = l.patiently(ctx, func() (err error) {
		lost, err = s.lost(ctx, since)
		return err
	})
	return lost, err
}

func (s span) lost(ctx context.Context, since time.Time) (bool, error) {
	info, count, err := s.count(ctx)
	if err != nil {
		return false, err
	}
	limit, age := info.Config.MaxMsgsPerSubject, info.Config.MaxAge
	full := limit > 0 && int64(count) >= limit
	switch {
	case since.IsZero():
		floor, err := s.cut(ctx, info)
		return full || floor > 0, err
	case full:
		now, err := s.retained(ctx)
		return !now.OldestTime.Before(since), err
	}
	return age > 0 && info.State.FirstSeq > 1 && since.Before(s.log.Now().Add(-age)), nil
}
