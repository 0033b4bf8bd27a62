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

// assurance makes sure that what the server acknowledged is in the log under its own
// subject. With some settings, which anybody may set who administers NATS, it is not. The
// settings are put back soon. Until then an event that was looked up, or that came live where it
// belongs, vouches for those that are acknowledged within a moment, and these are kept until that
// is known to hold.
type assurance struct {
	mu rank.Mutex[rank.StreamsAssurance]
	// until is when events are looked up again.
	until time.Time
	// recent and former were acknowledged and not looked up, each for sureAge.
	recent, former []*parcel
	bytes          int
	// astray turned out to be elsewhere and are to be stored again. As long as there are
	// some, nothing vouches for others.
	astray []*parcel
	// begun is sent to when there are recent ones again.
	begun chan struct{}
	// looking has a place for each that is being looked up.
	looking chan struct{}
}

// parcel is a message on its way into its channel.
type parcel struct {
	m *nats.Msg
	// size is that of the message in bytes.
	size int
	// key is the id that a publisher chose for the event, empty if he chose none, and
	// claimed how many ids that are made of it turned out to be of no use.
	key     string
	claimed int
	// first is the first attempt to store it, if somebody made that already. life, since and
	// upset, how often the app had been upset, are of before it.
	first *letter
	life  *string
	since begun
	upset uint64
	// unsure says that attempts were made to store it with others, which may have succeeded.
	unsure bool
	// offset is where it was acknowledged, and sent when that was.
	offset uint64
	sent   time.Time
	// retried says that more than one attempt was made to store it, of which an earlier one may
	// have been misplaced.
	retried bool
	// astray says that it was elsewhere and has another id, by which it is to be stored again.
	astray bool
	// until bounds how long that is tried, and looking it up. It is zero before that.
	until time.Time
}

// note notes where a message was acknowledged, just now.
func (p *parcel) note(offset uint64) { p.offset, p.sent = offset, time.Now() }

const (
	// sureFor is how long an event that is where it belongs vouches for others.
	sureFor = 20 * time.Millisecond
	// sureAge is how long it may take until an edited stream is noticed.
	sureAge = 250 * time.Millisecond
	// sureMany and sureBytes bound the recent ones. One more is looked up.
	sureMany, sureBytes = 1024, 1 << 20
	// sureLooks is how many are looked up at a time.
	sureLooks = 4
	// sureTimeout bounds looking up. An acknowledged event is not held back by a log that
	// cannot be read, as long as it can be kept to be looked up later.
	sureTimeout = time.Second
	// sureTries is how often an event is stored anew that is not where it belongs.
	sureTries = 5
)

// vouched says whether another event vouches for one, which is kept then. None does if the app
// was upset while this one was on its way: the other one may have been stored before that.
func (s *assurance) vouched(p *parcel, upset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.upset == upset && time.Now().Before(s.until) && len(s.astray) == 0 && s.add(p)
}

// keep takes one that could not be looked up, if there is room.
func (s *assurance) keep(p *parcel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(p)
}

// add makes a copy of one a recent one, if there is room: the parcels of a batch are one piece of
// memory. Whoever has to store it again begins anew, whatever is under way with the parcel now. The
// lock is held.
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

// vouch notes that an event which was just acknowledged is where it belongs. It vouches for
// those before it as well, unless somebody may have edited the stream since they were sent.
func (s *assurance) vouch(deaf bool, upset uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(sureFor)
	if !deaf && (len(s.recent) >= sureMany || s.bytes >= sureBytes/2) && !s.upsetSince(upset) {
		s.turn()
	}
}

// upsetSince says whether the app, which has been upset so often by now, was since the first of
// those that were not looked up was sent. The lock is held.
func (s *assurance) upsetSince(upset uint64) bool {
	stale := func(p *parcel) bool { return p.upset != upset }
	return slices.ContainsFunc(s.former, stale) || slices.ContainsFunc(s.recent, stale)
}

// saw notes that an event came live in its channel, some time after it was stored: the log had it
// there, and nobody but the server says so. It vouches as one does that was looked up at that
// time. Looking up costs the server more than the event itself where few are published.
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

// turn makes the recent ones the former ones. The lock is held.
func (s *assurance) turn() { s.former, s.recent, s.bytes = s.recent, nil, 0 }

// take empties an assurance.
func (s *assurance) take() []*parcel {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.astray, s.former, s.recent)
	s.until, s.astray, s.former, s.recent, s.bytes = time.Time{}, nil, nil, nil, 0
	return all
}

// leave keeps what could not be stored again yet, before what was kept since.
func (s *assurance) leave(some []*parcel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.astray = append(some, s.astray...)
}

// whereabouts are where an acknowledged message turned out to be.
type whereabouts uint8

const (
	// inPlace: it is where it belongs, or was until retention or a purge of its channel removed it.
	inPlace whereabouts = iota
	// elsewhere: it is in the log under another subject.
	elsewhere
	// nowhere: the log did not take it, and nobody was given it.
	nowhere
	// gone: it is not in the log, and neither retention nor a purge of its channel explains
	// that. It may have been delivered before somebody removed it.
	gone
	// unread: the log could not be read.
	unread
)

// whereIs looks a message up that was acknowledged a moment ago, unless it was delivered already.
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
		// The log began a new life, of which everybody is told.
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

// purged says whether a purge or a reset of its channel explains that a message is not in the log
// any more, here or on another gateway. A purge notes what it is going to remove before it does.
func (l *Log) purged(ctx context.Context, a *appLog, p *parcel, info *jetstream.StreamInfo) (bool, error) {
	channel, err := name.Decode(strings.TrimPrefix(p.m.Subject, a.root))
	if err != nil {
		return false, nil // It is not the subject of a channel.
	}
	below, err := span{log: l, app: a, channel: channel}.cut(ctx, info)
	return p.offset < below, err
}

// uninterestedFor is how long after retention by interest was put back an event may turn out
// not to have been taken because of it.
const uninterestedFor = 3 * time.Second

// infoFor asks the leader for the stream, with the number of messages of a subject.
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

// removes says whether retention explains that a message is not in the log any more. before
// is what the stream said of itself at the last look: somebody may have put a limit back.
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

// assured says whether an acknowledged message is where it belongs, as far as that can be
// known. It is unread if the log could not be read as long as there was time, and there was no
// room for one more that waits to be looked up.
func (l *Log) assured(ctx context.Context, a *appLog, p *parcel) whereabouts {
	for {
		where := l.lookedUp(ctx, a, p)
		switch {
		case where == unread && a.sure.keep(p):
			return inPlace
		case where != inPlace && where != unread:
			// The others are looked up by whoever watches the stream.
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

// lookedUp looks a message up if it was not delivered and no other one vouches for it. Only some
// are looked up at a time: the first that is vouches for most of those who wait.
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

// deaf says whether somebody might edit a stream and NATS not tell.
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

// settle looks the last of the recent events up, which vouches for the others as long as
// nobody edits the stream, and otherwise each of them. It says whether there are some left.
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
