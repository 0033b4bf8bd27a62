package streams

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker"
)

// assurance makes sure that what the server acknowledged is in the log under its own
// subject. With some settings, which anybody may set who administers NATS, it is not. The
// settings are put back soon. Until then an event that was looked up vouches for those that
// are acknowledged within a moment, and these are kept until that is known to hold.
type assurance struct {
	mu sync.Mutex
	// until is when events are looked up again.
	until time.Time
	// recent and former were acknowledged and not looked up, each for sureAge.
	recent, former []acked
	bytes          int
	// begun is sent to when there are recent ones again.
	begun chan struct{}
}

// acked is an acknowledged message.
type acked struct {
	m      *nats.Msg
	offset uint64
}

const (
	// sureFor is how long an event that was looked up vouches for others.
	sureFor = 20 * time.Millisecond
	// sureAge is how long it may take until an edited stream is noticed.
	sureAge = 250 * time.Millisecond
	// sureMany and sureBytes bound the recent ones. One more is looked up.
	sureMany, sureBytes = 1024, 1 << 20
	// sureTimeout bounds looking up. An acknowledged event is not held back by a log that
	// cannot be read.
	sureTimeout = time.Second
	// sureTries is how often an event is stored anew that is not where it belongs.
	sureTries = 5
)

// vouched says whether another event vouches for one, which is kept then.
func (s *assurance) vouched(m *nats.Msg, offset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !time.Now().Before(s.until) || len(s.recent) == sureMany || s.bytes+m.Size() > sureBytes {
		return false
	}
	if len(s.recent) == 0 {
		select {
		case s.begun <- struct{}{}:
		default:
		}
	}
	s.recent, s.bytes = append(s.recent, acked{m, offset}), s.bytes+m.Size()
	return true
}

// vouch notes that an event which was just acknowledged is where it belongs.
func (s *assurance) vouch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(sureFor)
	if len(s.recent) >= sureMany || s.bytes >= sureBytes/2 {
		s.turn()
	}
}

// turn makes the recent ones the former ones. The lock is held.
func (s *assurance) turn() { s.former, s.recent, s.bytes = s.recent, nil, 0 }

// take empties an assurance.
func (s *assurance) take() []acked {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(s.former, s.recent...)
	s.until, s.former, s.recent, s.bytes = time.Time{}, nil, nil, 0
	return all
}

// whereabouts are where an acknowledged message turned out to be.
type whereabouts uint8

const (
	inPlace whereabouts = iota
	// elsewhere: it is in the log under another subject.
	elsewhere
	// nowhere: it is not in the log, and retention does not explain that.
	nowhere
)

// whereIs looks a message up that was acknowledged a moment ago.
func (l *Log) whereIs(ctx context.Context, a *appLog, m *nats.Msg, offset uint64) whereabouts {
	ctx, cancel := context.WithTimeout(ctx, sureTimeout)
	defer cancel()
	got, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{Seq: offset})
	switch {
	case err != nil || found && got.subject == m.Subject:
		return inPlace
	case found:
		return elsewhere
	}
	// Newer ones of its channel may have taken its place, or of a stream that is full.
	newest, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{LastFor: m.Subject})
	if err != nil || found && newest.offset > offset {
		return inPlace
	}
	info, err := l.streamInfo(ctx, a)
	if err != nil || info.Config.MaxBytes > 0 && info.State.Bytes > uint64(info.Config.MaxBytes)/2 && info.State.FirstSeq > offset {
		return inPlace
	}
	return nowhere
}

// assured says whether an acknowledged message is where it belongs, as far as that can be
// known.
func (l *Log) assured(ctx context.Context, a *appLog, m *nats.Msg, offset uint64) bool {
	if a.sure.vouched(m, offset) {
		return true
	}
	if l.whereIs(ctx, a, m, offset) != inPlace {
		// The others are looked up by whoever watches the stream.
		a.lookSoon()
		return false
	}
	a.sure.vouch()
	return true
}

// settle looks the last of the recent events up, which vouches for the others as long as
// nobody edits the stream. It says whether there are some left.
func (l *Log) settle(a *appLog) bool {
	s := &a.sure
	s.mu.Lock()
	var last acked
	for _, some := range [][]acked{s.former, s.recent} {
		if n := len(some); n > 0 {
			last = some[n-1]
		}
	}
	s.mu.Unlock()
	if last.m != nil && l.whereIs(l.ctx, a, last.m, last.offset) != inPlace {
		l.checkStream(a)
		l.restore(a)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	return len(s.former) > 0
}

// restore stores those of the events anew that were acknowledged and that an edited stream
// misplaced.
func (l *Log) restore(a *appLog) {
	restored, lost := 0, 0
	for _, e := range a.sure.take() {
		switch l.whereIs(l.ctx, a, e.m, e.offset) {
		case inPlace:
			continue
		case elsewhere:
			ctx, cancel := context.WithTimeout(l.ctx, l.opt.PublishTimeout)
			_, err := l.publishOne(ctx, a, l.again(a, e.m), broker.Outgoing{Event: &broker.Event{}})
			cancel()
			if err == nil {
				restored++
				continue
			}
		}
		// Some may have been delivered. Storing them again would deliver them twice.
		lost++
	}
	l.upkeep.restored.Add(uint64(restored))
	l.upkeep.misplaced.Add(uint64(lost))
	if restored+lost > 0 && l.ctx.Err() == nil {
		l.opt.Logger.Error("somebody edited a stream so that acknowledged events were not stored in their channels",
			"stream", a.stream, "stored again", restored, "not in the log", lost)
	}
}

// anew puts the settings of a stream back and returns a message to be stored in the place
// of one that was misplaced.
func (l *Log) anew(ctx context.Context, a *appLog, m *nats.Msg) (*nats.Msg, error) {
	if err := l.refresh(ctx, a, ""); err != nil {
		return nil, unavailable("putting back the settings of the stream "+a.stream, err)
	}
	l.upkeep.restored.Add(1)
	return l.again(a, m), nil
}

// again is a message with another id: the server knows that of the one it misplaced.
func (l *Log) again(a *appLog, m *nats.Msg) *nats.Msg {
	fresh := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: maps.Clone(m.Header)}
	fresh.Header[nats.MsgIdHdr] = []string{nuid.Next()}
	l.proverOf(a, m.Subject).sign(fresh)
	return fresh
}
