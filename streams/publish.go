package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

// attemptTimeout is how long one attempt waits for its acknowledgement. A killed leader blocks publishing for some
// seconds. Short attempts find the new leader sooner, and the deduplication id prevents a second copy.
const attemptTimeout = 2 * time.Second

// Publish implements [broker.Publisher].
func (l *Log) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	a, err := l.app(app)
	if err != nil {
		return nil, err
	}
	parcels := make([]parcel, len(events))
	for i, e := range events {
		if err = l.pack(a, e, &parcels[i]); err != nil {
			return nil, err
		}
	}
	if l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, l.opt.PublishTimeout)
	defer cancel()
	receipts := make([]broker.Receipt, len(events))
	switch len(events) {
	case 0:
	case 1:
		receipts[0], err = l.place(ctx, a, &parcels[0])
	default:
		err = l.publishMany(ctx, a, parcels, receipts)
	}
	if err != nil {
		l.stats.Failures.Add(1)
		return nil, err
	}
	for i := range receipts {
		// An event without an id of its publisher can only be a duplicate of our own earlier attempt.
		receipts[i].Duplicate = receipts[i].Duplicate && events[i].Event.DedupID != ""
	}
	return receipts, nil
}

// pack makes the message of an event and checks all limits.
func (l *Log) pack(a *appLog, e broker.Outgoing, into *parcel) error {
	m, size, err := l.message(a, a.root+name.Subject(e.Channel), e, a.dedupID(e))
	into.m, into.size, into.key = m, size, e.Event.DedupID
	return err
}

// message returns the signed message of an event for a subject, and its size in bytes. Errors: [broker.ErrTooLarge].
func (l *Log) message(a *appLog, subject string, e broker.Outgoing, dedup string) (m *nats.Msg, size int, err error) {
	if len(e.Event.Data) > l.maxData() {
		return nil, 0, fmt.Errorf("%w: data has %d bytes, the limit is %d", broker.ErrTooLarge, len(e.Event.Data), l.maxData())
	}
	if m, err = encode(subject, e.Event, dedup); err != nil {
		return nil, 0, err
	}
	l.credentialsOf(a, e.Channel).sign(m)
	size = m.Size()
	if room := size - len(e.Event.Data); room > headerRoom {
		return nil, 0, fmt.Errorf("%w: names, tags and extras have %d bytes, the limit is %d", broker.ErrTooLarge, room, headerRoom)
	}
	if limit := l.pub.conn().MaxPayload(); l.pub.connected() && int64(size-len(subject)) > limit {
		return nil, 0, tooLarge(m, limit)
	}
	return m, size, nil
}

// dedupID returns the id by which the log recognizes a retry. The deduplication window belongs to the stream of the app,
// so ids of publishers are unique per app. Raw publishers choose ids as well and must not be able to guess ours, so ours
// are derived from a secret of the app.
func (a *appLog) dedupID(e broker.Outgoing) string {
	c := a.credentials.Load()
	switch {
	case e.Event.DedupID == "":
		return randomID()
	case c == nil:
		return e.Event.DedupID // only gateways write to this log
	}
	return c.id(e.Event.DedupID)
}

// publishAcked sends one message and waits for its acknowledgement. It retries with the same id until ctx ends. The first
// attempt may have been made already.
func (l *Log) publishAcked(ctx context.Context, a *appLog, p *parcel) (broker.Receipt, error) {
	unsure := p.unsure
	if p.first == nil && !unsure {
		p.begin(l, a)
	}
	p.unsure = false
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			l.stats.Retries.Add(1)
		}
		got, err := l.attemptPublish(ctx, a, p, unsure)
		p.retried, unsure = unsure, unsure || perhapsStored(err)
		if err == nil && got.stream != a.stream {
			err = foreign(got.stream, a.stream)
		}
		if err == nil {
			return l.acknowledged(a, p, got), nil
		}
		// The stream may have been edited.
		a.lookSoon()
		if final := l.giveUp(a, p.m, err, attempt); final != nil {
			return broker.Receipt{}, final
		}
		if attempt > 0 {
			a.storing.note(l, err)
		}
		select {
		case <-ctx.Done():
			return l.outOfTime(ctx, a, err)
		case <-time.After(pause(attempt)):
		}
	}
}

// pause returns the time to wait after an attempt. The first attempt is 0.
func pause(attempt int) time.Duration {
	return min(time.Duration(attempt+1)*50*time.Millisecond, 500*time.Millisecond)
}

// outOfTime returns the result of a publish whose last attempt failed with err when ctx ended.
func (l *Log) outOfTime(ctx context.Context, a *appLog, err error) (broker.Receipt, error) {
	if context.Cause(ctx) == context.Canceled {
		return broker.Receipt{}, ctx.Err()
	}
	// The failure counts even if there was time for only one attempt.
	a.storing.note(l, err)
	return broker.Receipt{}, unavailable("publishing", err)
}

// foreign returns the error for an acknowledgement by another stream.
func foreign(got, want string) error {
	return fmt.Errorf("the stream %s has the subjects of %s", got, want)
}

// begin records the state before a message is sent for the first time. If a new epoch begins meanwhile, a position in the
// old epoch is refused later, whereas one in the new epoch might belong to another event.
func (p *parcel) begin(l *Log, a *appLog) {
	p.life, p.since, p.upset = a.epoch.Load(), l.begun(a), a.upset.Load()
}

// beginWith copies that state from another message of the same batch.
func (p *parcel) beginWith(other *parcel) {
	p.life, p.since, p.upset = other.life, other.since, other.upset
}

// acknowledged records that a message was stored, and returns its receipt.
func (l *Log) acknowledged(a *appLog, p *parcel, got ack) broker.Receipt {
	a.storing.note(l, nil)
	l.stats.Published.Add(1)
	life := p.life
	a.known.stored(got.offset, func() bool { return a.epoch.Load() == life })
	if got.duplicate {
		l.stats.Duplicates.Add(1)
	}
	return broker.Receipt{Position: broker.Position{Epoch: *life, Offset: got.offset}, Duplicate: got.duplicate}
}

// perhapsStored reports whether a failed attempt may have stored the message.
func perhapsStored(err error) bool {
	var api *jetstream.APIError
	for _, not := range []error{nats.ErrNoResponders, jetstream.ErrNoStreamResponse, nats.ErrConnectionClosed, nats.ErrReconnectBufExceeded, nats.ErrMaxPayload} {
		if errors.Is(err, not) {
			return false
		}
	}
	return err != nil && !errors.As(err, &api)
}

// attemptPublish sends a message once. If an earlier attempt may have stored it, attemptPublish first looks it up, and
// does not send it if it is there.
func (l *Log) attemptPublish(ctx context.Context, a *appLog, p *parcel, unsure bool) (ack, error) {
	if sent := p.first; sent != nil {
		p.first = nil
		return sent.ack, sent.err
	}
	if unsure {
		limited, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		if offset, found, err := l.already(limited, a, p.m, p.since); err != nil || found {
			return ack{stream: a.stream, offset: offset, duplicate: true}, err
		}
	}
	return l.send.ask(ctx, p.m, p.size, a.stream)
}

// tooLargeTries is the number of attempts that the size limit of the stream may refuse. A limit below ours was edited, and
// will be put back.
const tooLargeTries = 5

// giveUp returns the final error of a publish, or nil if it is to be tried again.
func (l *Log) giveUp(a *appLog, m *nats.Msg, err error, attempt int) error {
	var api *jetstream.APIError
	isAPI := errors.As(err, &api)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge(m, l.pub.conn().MaxPayload())
	case isAPI && api.ErrorCode == messageTooLarge && attempt < tooLargeTries:
		// The event is within our limit, so the limit of the stream is smaller than it must be.
	case isAPI && api.ErrorCode == messageTooLarge:
		return fmt.Errorf("%w: the stream of the app takes no event of %d bytes", broker.ErrTooLarge, payload(m))
	case isAPI && api.ErrorCode == duplicateInProcess:
		// Another publish with this id is under way. It will soon be stored or fail.
	case isAPI && api.Code < 500:
		// Among these are the limits of the account.
		a.storing.note(l, err)
		return unavailable("publishing", err)
	case l.ctx.Err() != nil:
		return fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)
	}
	return nil
}

// duplicateInProcess is JetStream's error code for an id that is being stored.
const duplicateInProcess = 10158

// messageTooLarge is JetStream's error code for a message above the stream's limit.
const messageTooLarge = 10054
