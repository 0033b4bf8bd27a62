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

// AtomicBatches says for which apps several events that are published together are stored either all or not at all. It needs
// nats-server 2.12.1 or later.
type AtomicBatches uint8

const (
	// AtomicReplicated: apps whose streams have several replicas, where it costs nothing.
	AtomicReplicated AtomicBatches = iota
	// AtomicAlways: all apps. For a stream with one replica, the server first writes each batch to a separate store on
	// disk, which takes about a millisecond.
	AtomicAlways
	// AtomicNever: no apps.
	AtomicNever
)

const (
	// atomicAPILevel is the API level of nats-server 2.12, the first version with atomic batches.
	atomicAPILevel = 2
	// maxTogether is the default limit of a server for the messages of a batch.
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

// atomic reports whether the stream of an app should accept atomic batches.
func (l *Log) atomic(a AppOptions) bool {
	return l.level >= atomicAPILevel && a.ID != broker.GatewaysApp &&
		(l.opt.Atomic == AtomicAlways || l.opt.Atomic == AtomicReplicated && a.Replicas > 1)
}

// takesTogether reports whether n events can be stored as a batch in the stream of an app.
func (l *Log) takesTogether(a *appLog, n int) bool {
	info := a.info.Load()
	return n > 1 && n <= maxTogether && info != nil && info.Config.AllowAtomicPublish && l.atomic(*a.limits.Load()) && !l.apart.Load() &&
		time.Now().UnixNano() >= a.crowded.Load()
}

// together stores all events as one batch. Events that then need more than an acknowledgement are handled one by one. It
// reports false if all events must be published one by one, because the server does not store them as a batch or already
// has some of them.
//
// Every attempt is a new batch with the same deduplication ids. The server refuses a batch if it knows any of the ids, so no
// event is stored twice. After a lost acknowledgement, that refusal shows that the events are stored. If the deduplication
// window was shortened by an edit, they are searched for in the log.
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
		// The stream may have been edited.
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
	// crowdedTries is how often a server must refuse a batch until it is assumed to accept none. A single refusal may also
	// mean that a message of the batch was lost.
	crowdedTries = 5
	// crowdedFor is how long batches are not tried after that. It is how long a server waits for the rest of a batch.
	crowdedFor = 10 * time.Second
)

func isIncomplete(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == batchIncomplete
}

// crowdedOut stops using batches for the app for a while. A server accepts 50 unfinished batches per stream and 1,000 in total,
// and any publisher may begin batches without ending them.
func (m *many) crowdedOut(err error) bool {
	m.app.crowded.Store(time.Now().Add(crowdedFor).UnixNano())
	m.log.skips.Warn(m.log.opt.Logger, "crowded "+m.app.opt.ID, "the NATS server takes no further batch, since somebody begins batches and does not end them; events of a batch are stored one by one meanwhile",
		"app", m.app.opt.ID, "error", err)
	return true
}

// errApart says that the events of a batch must be stored one by one.
var errApart = errors.New("some of the events are stored already")

// attempt sends the batch once. If an earlier attempt may have stored it, attempt first looks for it, and returns errApart if
// it is there.
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

// complete checks that the server stored the first event as well. If an account runs out of room, a server without replicas may
// leave out some events and acknowledge the last one.
func (m *many) complete(ctx context.Context, got ack) error {
	offset := got.offset - uint64(len(m.parcels)) + 1
	ctx, cancel := context.WithTimeout(ctx, sureTimeout)
	defer cancel()
	one, found, err := m.log.reader.leaderGet(ctx, m.app.stream, getRequest{Seq: offset})
	if err == nil && found && last(one.header, nats.MsgIdHdr) != last(m.parcels[0].m.Header, nats.MsgIdHdr) {
		return errApart
	}
	return nil // if it was removed already or cannot be read, the assurance will check the events
}

// batchRoom is an upper bound for the size of the batch headers of a message.
const batchRoom = 128

// messages adds the batch headers to the messages of the events and returns them. single removes the headers again.
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

// single removes the batch headers.
func (m *many) single() {
	for i := range m.parcels {
		for _, line := range [...]string{batchID, batchSequence, batchCommit} {
			delete(m.parcels[i].m.Header, line)
		}
	}
}

// weight returns what the messages count together, see [weight].
func (m *many) weight() (all int64) {
	for i := range m.parcels {
		all += weight(m.parcels[i].size)
	}
	return min(all, sendingBytes)
}

// whole continues with the events of a batch that was stored.
func (m *many) whole(ctx context.Context, got ack) {
	n := len(m.parcels)
	m.left, m.next = n, make([]int, n)
	letters := make([]letter, n)
	for i := range letters {
		letters[i] = letter{index: i, ack: ack{stream: got.stream, offset: got.offset - uint64(n-1-i)}}
		m.answered(ctx, &letters[i])
	}
}

// singly reports whether an error of a batch means that its events must be stored one by one.
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

// giveUp returns the final error of a batch, or nil if it is to be tried again. The server does not say which of the events it
// refused.
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

// askTogether sends the messages of a batch and waits for the acknowledgement of the last one, as ask does. Batches are sent one
// after the other, because a server limits the unfinished batches of a stream.
func (s *sender) askTogether(ctx context.Context, m *many, weight int64, stream string) (ack, error) {
	ended := make(chan *letter, 1)
	l := &letter{stream: stream, ended: ended, weight: weight}
	if err := s.sendTogether(ctx, m, l); err != nil {
		return ack{}, err
	}
	return s.wait(ctx, l, ended)
}

// sendTogether waits for its turn and sends a batch. An error means that the batch was not stored.
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
	// Every attempt has its own batch id, so messages of an earlier attempt do not become part of it.
	c, id := s.link.conn(), randomID()
	done, err := s.link.publishTogether(c, m.parcels, id, replyTo(s.inbox, l.number))
	if !done {
		err = s.deliverTogether(c, m.messages(id), l)
		m.single()
	}
	return s.sent(l, err)
}

// deliverTogether publishes a batch with the library.
func (s *sender) deliverTogether(c *nats.Conn, all []*nats.Msg, l *letter) error {
	n := len(all) - 1
	for _, m := range all[:n] {
		if err := c.PublishMsg(m); err != nil {
			return err
		}
	}
	return s.deliver(c, all[n], l)
}
