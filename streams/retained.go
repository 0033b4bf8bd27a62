package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// staleTimeout is how long a reading waits for replicas to catch up with their leader. Normally they are behind for
// milliseconds.
const staleTimeout = 2 * time.Second

// Retained implements [broker.History].
func (l *Log) Retained(ctx context.Context, app, channel string) (broker.Retained, error) {
	s, err := l.span(app, channel)
	if err != nil {
		return broker.Retained{}, err
	}
	var page *broker.Page
	err = l.patiently(ctx, func() (err error) {
		page, err = s.settled(ctx, func(broker.Retained) (*broker.Page, error) { return &broker.Page{}, s.unless(nil) },
			func(*broker.Page, broker.Retained) bool { return false })
		return err
	})
	if err != nil {
		return broker.Retained{}, err
	}
	return page.Retained, nil
}

// settled repeats a reading until the replica that answered was not behind the leader. Any replica may answer, and it may not
// have the last acknowledged messages yet. ends reports whether the page must contain the newest message.
func (s span) settled(ctx context.Context, read func(broker.Retained) (*broker.Page, error), ends func(*broker.Page, broker.Retained) bool) (*broker.Page, error) {
	until := time.Now().Add(staleTimeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		retained, err := s.retained(ctx)
		if err != nil {
			return nil, err
		}
		page, err := read(retained)
		switch {
		case errors.Is(err, errStale):
		case err != nil:
			return nil, err
		case s.app.copies.Load() < 2,
			(retained.Newest == 0 || retained.Oldest > 0) && (!ends(page, retained) || highest(page) >= retained.Newest):
			page.Retained = retained
			return page, nil
		}
		if time.Now().After(until) {
			return nil, unavailable("reading the log", errStale)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// highest is the offset at the newer end of a page.
func highest(page *broker.Page) uint64 {
	n := len(page.Publications)
	if n == 0 {
		return 0
	}
	return max(page.Publications[0].Offset, page.Publications[n-1].Offset)
}

// retained is what the log has of the channel. With several copies the leader says so: another one
// may not have the newest messages yet, and may still have old ones that were removed.
func (s span) retained(ctx context.Context) (broker.Retained, error) {
	r := broker.Retained{Epoch: s.app.currentEpoch()}
	oldest, newest, count, err := s.extent(ctx)
	if err != nil || newest.offset == 0 {
		return r, err
	}
	r.Oldest, r.OldestTime, r.Messages = oldest.offset, oldest.time, count
	r.Newest, r.NewestTime = newest.offset, newest.time
	return r, nil
}

// extent returns the oldest and the newest message of the channel, and how many there are. Without any, the
// offset of the newest is 0.
func (s span) extent(ctx context.Context) (oldest, newest stored, count uint64, err error) {
	r, found := s.log.reader, false
	if s.app.copies.Load() < 2 {
		if oldest, count, err = s.probe(ctx, 1); err == nil && count > 0 {
			newest, _, err = r.newest(ctx, s.app.stream, s.subject)
		}
		return oldest, newest, count, err
	}
	if oldest, found, err = r.leaderGet(ctx, s.app.stream, getRequest{Seq: 1, NextFor: s.subject}); err != nil || !found {
		return oldest, newest, 0, err
	}
	if newest, found, err = r.leaderGet(ctx, s.app.stream, getRequest{LastFor: s.subject}); err == nil && found {
		_, count, err = s.count(ctx)
	}
	return oldest, newest, count, err
}

// count asks the leader for the number of messages of the channel, and returns the state of the stream as well.
func (s span) count(ctx context.Context) (*jetstream.StreamInfo, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	info, err := s.log.infoFor(ctx, s.app, s.subject)
	if err != nil {
		return nil, 0, unavailable("asking for the stream", fmt.Errorf("messages of %s: %w", s.subject, err))
	}
	s.app.leader.saw(info, time.Now())
	return info, info.State.Subjects[s.subject], nil
}
