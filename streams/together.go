package streams

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
)

// AtomicBatches says of which apps several events that are published together are stored as a
// whole or not at all. It needs nats-server 2.12.1 or later.
type AtomicBatches uint8

const (
	// AtomicReplicated: those whose stream has several replicas, where it costs nothing.
	AtomicReplicated AtomicBatches = iota
	// AtomicAlways: all. The server keeps each batch for a stream with one replica in a
	// store of its own on disk before, which takes about a millisecond.
	AtomicAlways
	// AtomicNever: none.
	AtomicNever
)

const (
	// atomicAPILevel is that of nats-server 2.12, the first with atomic batches.
	atomicAPILevel = 2
	// maxTogether is how many events a server takes as a whole unless it is told otherwise.
	maxTogether = 1000
)

// Headers of atomic batches.
const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
)

// Error codes of JetStream for atomic batches.
const (
	batchDisabled    = 10174
	batchIncomplete  = 10176
	batchUnsupported = 10177
	batchTooLarge    = 10199
	batchDuplicate   = 10201
)

// atomic says whether the stream of an app is to take batches as a whole.
func (l *Log) atomic(a AppOptions) bool {
	return l.level >= atomicAPILevel && a.ID != broker.GatewaysApp &&
		(l.opt.Atomic == AtomicAlways || l.opt.Atomic == AtomicReplicated && a.Replicas > 1)
}

// takesTogether says whether n events can be stored as a whole in the stream of an app.
func (l *Log) takesTogether(a *appLog, n int) bool {
	info := a.info.Load()
	return n > 1 && n <= maxTogether && info != nil && info.Config.AllowAtomicPublish && l.atomic(*a.limits.Load()) && !l.apart.Load() &&
		time.Now().UnixNano() >= a.crowded.Load()
}

// together stores all events as a whole, and has those that need more than an acknowledgement
// dealt with one by one. It says false if that must be done with all of them: the server does
// not store them as a whole, or has some of them already.
//
// Every attempt is a batch of its own, with the same ids of its events. The server refuses a
// batch if it knows any id, so no event is stored twice. What a lost acknowledgement leaves
// open is found out by that, or in the log if somebody has made the window of ids shorter.
func (m *many) together(ctx context.Context) (bool, error) {
	l, a := m.log, m.app
	m.parcels[0].begin(l, a)
	for i := range m.parcels {
		m.parcels[i].beginWith(&m.parcels[0])
	}
	unsure, turnedAway := false, 0
	for began, attempt := time.Now(), 0; ; attempt++ {
		if attempt > 0 {
			l.stats.Retries.Add(1)
		}
		got, err := m.attempt(ctx, unsure)
		unsure = unsure || perhapsStored(err)
		if isIncomplete(err) {
			turnedAway++
		}
		switch {
		case err == nil:
			m.whole(ctx, got)
			return true, nil
		case m.singly(err), turnedAway >= crowdedTries && time.Since(began) > l.opt.PublishTimeout/4 && m.crowdedOut(err):
			for i := range m.parcels {
				m.parcels[i].unsure = unsure
			}
			return false, nil
		}
		// Somebody may have edited the stream.
		a.lookSoon()
		if final := m.giveUp(err, attempt); final != nil {
			return true, final
		}
		if attempt > 0 {
			a.storing.note(l, err)
		}
		select {
		case <-ctx.Done():
			_, err := l.outOfTime(ctx, a, err)
			return true, err
		case <-time.After(pause(attempt)):
		}
	}
}

const (
	// crowdedTries is how often a server must have turned a batch away until it is taken for one
	// that takes none. A piece that was lost on the way has the same answer.
	crowdedTries = 5
	// crowdedFor is how long such a server is not asked again, which is how long it waits for the
	// rest of a batch.
	crowdedFor = 10 * time.Second
)

func isIncomplete(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == batchIncomplete
}

// crowdedOut gives up storing batches of the app as a whole for a while. A server takes in 50 of a
// stream and 1,000 of all at a time, and whoever may publish may begin them and end none.
func (m *many) crowdedOut(err error) bool {
	m.app.crowded.Store(time.Now().Add(crowdedFor).UnixNano())
	m.log.skips.Warn(m.log.opt.Logger, "crowded "+m.app.opt.ID, "the NATS server takes no further batch, since somebody begins batches and does not end them; events of a batch are stored one by one meanwhile",
		"app", m.app.opt.ID, "error", err)
	return true
}

// errApart says that the events of a batch are to be stored one by one.
var errApart = errors.New("some of the events are stored already")

// attempt sends the batch once, unless it may be stored already by an attempt before, and is.
func (m *many) attempt(ctx context.Context, unsure bool) (ack, error) {
	l, a, n := m.log, m.app, len(m.parcels)
	if unsure {
		limited, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		switch _, found, err := l.already(limited, a, m.parcels[0].m, m.parcels[0].since); {
		case err != nil:
			return ack{}, err
		case found:
			return ack{}, errApart
		}
	}
	got, err := l.send.askTogether(ctx, m, m.weight(), a.stream)
	switch {
	case err != nil:
		return ack{}, err
	case got.stream != a.stream:
		return ack{}, foreign(got.stream, a.stream)
	case got.count != n || got.offset < uint64(n):
		return ack{}, jetstream.ErrInvalidJSAck
	case a.copies.Load() > 1:
		return got, nil
	}
	return got, m.complete(ctx, got)
}

// complete makes sure that the server stored the first event as well. When an account has no
// more room, a server without replicas may leave out some and acknowledge the last.
func (m *many) complete(ctx context.Context, got ack) error {
	offset := got.offset - uint64(len(m.parcels)) + 1
	ctx, cancel := context.WithTimeout(ctx, sureTimeout)
	defer cancel()
	one, found, err := m.log.reader.leaderGet(ctx, m.app.stream, getRequest{Seq: offset})
	if err == nil && found && last(one.header, nats.MsgIdHdr) != last(m.parcels[0].m.Header, nats.MsgIdHdr) {
		return errApart
	}
	return nil // what was removed already, or cannot be read, is left to the assurance
}

// batchRoom is more than what the lines of a batch take in a message.
const batchRoom = 128

// messages are those of the events, as a batch with an id, until single is called.
func (m *many) messages(id string) []*nats.Msg {
	n := len(m.parcels)
	all, texts := make([]*nats.Msg, n), make([]string, n+2)
	texts[n], texts[n+1] = id, "1"
	for i := range m.parcels {
		all[i], texts[i] = m.parcels[i].m, strconv.Itoa(i+1)
		all[i].Header[batchID], all[i].Header[batchSequence] = texts[n:n+1:n+1], texts[i:i+1:i+1]
	}
	all[n-1].Header[batchCommit] = texts[n+1:]
	return all
}

// single makes the messages those of events again.
func (m *many) single() {
	for i := range m.parcels {
		for _, line := range [...]string{batchID, batchSequence, batchCommit} {
			delete(m.parcels[i].m.Header, line)
		}
	}
}

// weight is what they count together.
func (m *many) weight() (all int64) {
	for i := range m.parcels {
		all += weight(m.parcels[i].size)
	}
	return min(all, sendingBytes)
}

// whole goes on with the events of a batch that was stored.
func (m *many) whole(ctx context.Context, got ack) {
	n := len(m.parcels)
	m.left, m.next = n, make([]int, n)
	letters := make([]letter, n)
	for i := range letters {
		letters[i] = letter{index: i, ack: ack{stream: got.stream, offset: got.offset - uint64(n-1-i)}}
		m.answered(ctx, &letters[i])
	}
}

// singly says whether an error of a batch means that its events are to be stored one by one.
func (m *many) singly(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, errApart):
		return true
	case !errors.As(err, &api):
		return false
	case api.ErrorCode == batchUnsupported && !m.log.apart.Swap(true):
		m.log.opt.Logger.Warn("the NATS server stores batches as a whole only without ids; events of a batch are stored one by one until it is nats-server 2.12.1 or later and this gateway is restarted")
	}
	return api.ErrorCode == batchDuplicate || api.ErrorCode == batchUnsupported || api.ErrorCode == batchTooLarge
}

// giveUp returns the error of a batch that is not tried again, nil if it is. The server does
// not say which of its events it did not take.
func (m *many) giveUp(err error, attempt int) error {
	var api *jetstream.APIError
	last := m.parcels[len(m.parcels)-1].m
	if !errors.As(err, &api) || api.ErrorCode != batchDisabled && api.ErrorCode != batchIncomplete {
		return m.log.giveUp(m.app, last, err, attempt)
	}
	info := m.app.info.Load()
	if info == nil || info.Config.MaxMsgSize <= 0 || attempt < tooLargeTries {
		return nil
	}
	for i := range m.parcels {
		if p := &m.parcels[i]; payload(p.m) > int64(info.Config.MaxMsgSize) {
			return m.log.giveUp(m.app, p.m, &jetstream.APIError{ErrorCode: messageTooLarge}, attempt)
		}
	}
	return nil
}

// askTogether sends the messages of a batch, of which the server acknowledges the last, and
// waits as ask does. Batches are sent one after the other: a server bounds how many it has begun
// to take in for a stream.
func (s *sender) askTogether(ctx context.Context, m *many, weight int64, stream string) (ack, error) {
	ended := make(chan *letter, 1)
	l := &letter{stream: stream, ended: ended, weight: weight}
	if err := s.sendTogether(ctx, m, l); err != nil {
		return ack{}, err
	}
	return s.wait(ctx, l, ended)
}

// sendTogether sends a batch when it is its turn. An error says that it cannot be stored.
func (s *sender) sendTogether(ctx context.Context, m *many, l *letter) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.enter(ctx, l); err != nil {
		return err
	}
	// Every attempt has an id of its own: what came of one before is none of its pieces.
	c, id := s.link.conn(), randomID()
	done, err := s.link.publishTogether(c, m.parcels, id, replyTo(s.inbox, l.number))
	if !done {
		err = s.deliverTogether(c, m.messages(id), l)
		m.single()
	}
	return s.sent(l, err)
}

// deliverTogether gives a batch to the library.
func (s *sender) deliverTogether(c *nats.Conn, all []*nats.Msg, l *letter) error {
	n := len(all) - 1
	for _, m := range all[:n] {
		if err := c.PublishMsg(m); err != nil {
			return err
		}
	}
	return s.deliver(c, all[n], l)
}
