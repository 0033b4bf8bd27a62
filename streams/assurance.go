package streams

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/broker/rank"
)

// assurance checks that acknowledged events are in the log under their own subjects. Some stream settings, which any
// administrator of NATS can change, make the server acknowledge an event that it stores elsewhere or not at all. The
// settings are put back soon. To look every event up would be too expensive. So an event that was looked up, or that
// arrived live on its own subject, vouches for the events acknowledged within the next moment. Those events are kept
// until it is known that the settings were right for them as well.
type assurance struct {
	mu rank.Mutex[rank.StreamsAssurance]
	// until is the time after which the next event must be looked up.
	until time.Time
	// recent and former hold acknowledged events that were not looked up. Each list lasts for sureAge.
	recent, former []*parcel
	bytes          int
	// astray holds events that were found to be misplaced and must be stored again. While it is not empty, no event
	// vouches for others.
	astray []*parcel
	// begun receives a value when recent becomes non-empty.
	begun chan struct{}
	// looking is a semaphore for lookups.
	looking chan struct{}
}

// parcel is a message that is being stored in its channel.
type parcel struct {
	m *nats.Msg
	// size of the message in bytes.
	size int
	// key is the id that the publisher chose for the event, or empty. claimed counts the deduplication ids derived
	// from it that turned out to be unusable.
	key     string
	claimed int
	// first is the first attempt to store the message, if one was made before. life, since and upset (the value of
	// appLog.upset) were taken before that attempt.
	first *letter
	life  *string
	since begun
	upset uint64
	// unsure says that attempts were made to store it in a batch, which may have succeeded.
	unsure bool
	// offset is the acknowledged offset, and sent the time of the acknowledgement.
	offset uint64
	sent   time.Time
	// retried says that more than one attempt was made. An earlier one may have been misplaced.
	retried bool
	// astray says that the message was found elsewhere and now has another id, with which it must be stored again.
	astray bool
	// until is the deadline for looking the message up and storing it again. It is zero until one of them begins.
	until time.Time
}

// note records an acknowledgement that has just arrived.
func (p *parcel) note(offset uint64) { p.offset, p.sent = offset, time.Now() }

const (
	// sureFor is how long a correctly placed event vouches for others.
	sureFor = 20 * time.Millisecond
	// sureAge is the longest time until an edit of a stream is noticed.
	sureAge = 250 * time.Millisecond
	// sureMany and sureBytes bound recent. If it is full, an event is looked up instead.
	sureMany, sureBytes = 1024, 1 << 20
	// sureLooks is the number of concurrent lookups.
	sureLooks = 4
	// sureTimeout bounds one lookup. If the log cannot be read, the publisher need not wait longer, as long as there is
	// room to keep the event for a later lookup.
	sureTimeout = time.Second
	// sureTries is how often a misplaced event is stored again.
	sureTries = 5
)

// vouched reports whether another event vouches for p, and if so keeps p. It is false if the app was upset while p was
// being stored, because the other event may have been stored before that.
func (s *assurance) vouched(p *parcel, upset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.upset == upset && time.Now().Before(s.until) && len(s.astray) == 0 && s.add(p)
}

// keep keeps a parcel that could not be looked up. It reports false if there is no room.
func (s *assurance) keep(p *parcel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(p)
}

// add appends a copy of p to recent, and reports false if there is no room. It copies because the parcels of a batch
// share one allocation. The copy forgets the present attempt: storing it again begins from the start. The caller holds
// mu.
func (s *assurance) add(p *parcel) bool {
	if len(s.recent) >= sureMany || s.bytes+p.size > sureBytes {
		return false
	}
	if len(s.recent) == 0 {
		select {
		case s.begun <- struct{}{}:
		default:
		}
	}
	kept := *p
	kept.first, kept.astray, kept.until = nil, false, time.Time{}
	s.recent, s.bytes = append(s.recent, &kept), s.bytes+p.size
	return true
}

// vouch records that an event which was just acknowledged is in its place. It also vouches for earlier events, unless
// the stream may have been edited since they were sent. deaf says that edits may go unnoticed.
func (s *assurance) vouch(deaf bool, upset uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(sureFor)
	if !deaf && (len(s.recent) >= sureMany || s.bytes >= sureBytes/2) && !s.upsetSince(upset) {
		s.turn()
	}
}

// upsetSince reports whether the app was upset since the first event that was not looked up was sent. upset is the
// present value of appLog.upset. The caller holds mu.
func (s *assurance) upsetSince(upset uint64) bool {
	stale := func(p *parcel) bool { return p.upset != upset }
	return slices.ContainsFunc(s.former, stale) || slices.ContainsFunc(s.recent, stale)
}

// saw records that an event arrived live in its channel, age after it was stored. Only the server can write to the
// live subject, so the log had the event in its place. The event vouches like one that was looked up at that time.
// This saves lookups, which cost the server more than the events themselves where few are published.
func (s *assurance) saw(age time.Duration) {
	left := sureFor - max(age, 0)
	if left <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(left); until.After(s.until) {
		s.until = until
	}
}

// turn moves recent to former, and drops what was in former. The caller holds mu.
func (s *assurance) turn() { s.former, s.recent, s.bytes = s.recent, nil, 0 }

// take removes and returns all parcels.
func (s *assurance) take() []*parcel {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.astray, s.former, s.recent)
	s.until, s.astray, s.former, s.recent, s.bytes = time.Time{}, nil, nil, nil, 0
	return all
}

// leave puts back the parcels that could not be stored again yet, before those that were added since.
func (s *assurance) leave(some []*parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.astray = append(some, s.astray...)
}

// whereabouts is the result of looking up an acknowledged message.
type whereabouts uint8

const (
	// inPlace: the message is under its own subject, or was until retention or a purge of its channel removed it.
	inPlace whereabouts = iota
	// elsewhere: the message is in the log under another subject.
	elsewhere
	// nowhere: the log did not store the message, and it was not delivered.
	nowhere
	// gone: the message is not in the log, and neither retention nor a purge of its channel explains that. It may have
	// been delivered before it was removed.
	gone
	// unread: the log could not be read.
	unread
)

// whereIs looks up a message that was acknowledged a moment ago. A message that was already delivered is in place
// without a lookup.
func (l *Log) whereIs(ctx context.Context, a *appLog, p *parcel) whereabouts {
	if a.known.inPlace(p.offset, p.m.Subject) {
		return inPlace
	}
	ctx, cancel := context.WithTimeout(ctx, sureTimeout)
	defer cancel()
	got, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{Seq: p.offset})
	switch {
	case err != nil:
		return unread
	case found && got.subject == p.m.Subject:
		return inPlace
	case found && last(got.header, nats.MsgIdHdr) != last(p.m.Header, nats.MsgIdHdr):
		// The offset belongs to a new epoch of the log. That is reported to all subscribers separately.
		a.lookSoon()
		return inPlace
	case found:
		return elsewhere
	case a.known.delivered(p.offset):
		return inPlace
	}
	info, err := l.infoFor(ctx, a, p.m.Subject)
	switch {
	case err != nil:
		return unread
	case !p.retried && removes(info, a.info.Load(), p):
		return inPlace
	case info.Config.Retention != jetstream.LimitsPolicy || time.Since(time.Unix(0, a.uninterested.Load())) < uninterestedFor:
		return nowhere
	}
	purged, err := l.purged(ctx, a, p, info)
	switch {
	case err != nil:
		return unread
	case purged:
		return inPlace
	}
	return gone
}

// purged reports whether a purge or reset of the channel, by any gateway, explains that a message is not in the log. A
// purge records what it will remove before it removes it.
func (l *Log) purged(ctx context.Context, a *appLog, p *parcel, info *jetstream.StreamInfo) (bool, error) {
	channel, err := name.Decode(strings.TrimPrefix(p.m.Subject, a.root))
	if err != nil {
		return false, nil // not the subject of a channel
	}
	below, err := span{log: l, app: a, channel: channel}.cut(ctx, info)
	return p.offset < below, err
}

// uninterestedFor is how long after the end of an interest retention a missing event is attributed to it. With that
// retention the server acknowledges events without storing them.
const uninterestedFor = 3 * time.Second

// infoFor asks the leader for the state of the stream, with the number of messages of each subject that matches.
func (l *Log) infoFor(ctx context.Context, a *appLog, subject string) (*jetstream.StreamInfo, error) {
	s, err := l.admin.Stream(ctx, a.stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, err
	}
	return info, led(info)
}

// removes reports whether retention explains that a message is not in the log. before is the state of the stream at
// the previous look, because a limit may have been changed back since.
func removes(info, before *jetstream.StreamInfo, p *parcel) bool {
	limit := leastOf(info).messages
	if before != nil {
		limit = smaller(limit, leastOf(before).messages)
	}
	c, state := info.Config, info.State
	return limit > 0 && state.Subjects[p.m.Subject] >= uint64(limit) ||
		c.MaxBytes > 0 && state.Bytes > uint64(c.MaxBytes)/2 && state.FirstSeq > p.offset ||
		c.MaxAge > 0 && time.Since(p.sent) > c.MaxAge/2
}

// assured reports where an acknowledged message is, as far as that can be known. The result is unread if the log could
// not be read before ctx ended and there was no room to keep the message for a later lookup.
func (l *Log) assured(ctx context.Context, a *appLog, p *parcel) whereabouts {
	for {
		where := l.lookedUp(ctx, a, p)
		switch {
		case where == unread && a.sure.keep(p):
			return inPlace
		case where != inPlace && where != unread:
			// The goroutine that supervises the stream looks up the other events.
			a.lookSoon()
		}
		if where != unread {
			return where
		}
		select {
		case <-ctx.Done():
			return unread
		case <-time.After(attemptPause):
		}
	}
}

// lookedUp looks a message up, unless it was delivered or another event vouches for it. Lookups are limited to a few at
// a time, because the first one vouches for most of those that wait.
func (l *Log) lookedUp(ctx context.Context, a *appLog, p *parcel) whereabouts {
	if a.known.inPlace(p.offset, p.m.Subject) || a.sure.vouched(p, a.upset.Load()) {
		return inPlace
	}
	select {
	case a.sure.looking <- struct{}{}:
		defer func() { <-a.sure.looking }()
	case <-ctx.Done():
		return unread
	}
	if a.sure.vouched(p, a.upset.Load()) {
		return inPlace
	}
	where := l.whereIs(ctx, a, p)
	if where == inPlace {
		a.sure.vouch(l.deaf(), a.upset.Load())
	}
	return where
}

// deaf reports whether a stream may be edited without NATS telling this gateway.
func (l *Log) deaf() bool {
	if l.unadvised.Load() || !l.feed.connected() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.refusals {
		if r.role == l.feed.role && errors.Is(r.err, errCrowded) {
			return true
		}
	}
	return false
}

// settle looks up the last kept event. It vouches for the others if the stream cannot have been edited meanwhile.
// Otherwise each of them is looked up. settle reports whether any are left.
func (l *Log) settle(a *appLog) bool {
	s := &a.sure
	s.mu.Lock()
	var last *parcel
	for _, some := range [][]*parcel{s.former, s.recent} {
		if n := len(some); n > 0 {
			last = some[n-1]
		}
	}
	each := len(s.astray) > 0 || last != nil && (s.upsetSince(a.upset.Load()) || l.deaf())
	s.mu.Unlock()
	where := inPlace
	if last != nil {
		where = l.whereIs(l.ctx, a, last)
	}
	switch {
	case where == unread:
		return true
	case each || where != inPlace:
		l.checkStream(a)
		return l.restore(a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	return len(s.former) > 0
}
