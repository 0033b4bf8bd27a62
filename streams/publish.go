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

// attemptTimeout is how long one attempt waits for its acknowledgement. A killed
// leader blocks publishing for some seconds; shorter attempts find the new one
// sooner, and the id keeps what was stored from being stored again.
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
		// An event without an id of its publisher is only ever a duplicate of itself.
		receipts[i].Duplicate = receipts[i].Duplicate && events[i].Event.DedupID != ""
	}
	return receipts, nil
}

// pack makes the message of an event, within all limits.
func (l *Log) pack(a *appLog, e broker.Outgoing, into *parcel) error {
	m, size, err := l.message(a, a.root+name.Subject(e.Channel), e, a.dedupID(e))
	into.m, into.size, into.key = m, size, e.Event.DedupID
	return err
}

// message is an event as it is sent on a subject, with the proof of an app, and its size in bytes.
// Errors: [broker.ErrTooLarge].
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

// dedupID makes the id by which the log knows a retry. The window is that of the
// app's stream, so an id that a publisher chose is one of its app. Raw publishers choose
// ids as well, and must not find ours; they can ask for the last one.
func (a *appLog) dedupID(e broker.Outgoing) string {
	c := a.credentials.Load()
	switch {
	case e.Event.DedupID == "":
		return randomID()
	case c == nil:
		return e.Event.DedupID // nobody else writes there
	}
	return c.id(e.Event.DedupID)
}

// publishAcked sends one message and waits for its acknowledgement, again and again
// with the same id until the deadline. The first attempt may have been made already.
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
		// Somebody may have edited the stream.
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

// pause lies behind an attempt, the first of which is 0.
func pause(attempt int) time.Duration {
	return min(time.Duration(attempt+1)*50*time.Millisecond, 500*time.Millisecond)
}

// outOfTime is the end of a publish whose last attempt failed with an error.
func (l *Log) outOfTime(ctx context.Context, a *appLog, err error) (broker.Receipt, error) {
	if context.Cause(ctx) == context.Canceled {
		return broker.Receipt{}, ctx.Err()
	}
	// Also when there was time for a single attempt.
	a.storing.note(l, err)
	return broker.Receipt{}, unavailable("publishing", err)
}

// foreign says that another stream has acknowledged a message.
func foreign(got, want string) error {
	return fmt.Errorf("the stream %s has the subjects of %s", got, want)
}

// begin notes what is known before a message is sent for the first time. If the log begins a
// new life meanwhile, a position of before is refused later on, and one of afterwards might
// be another event's.
func (p *parcel) begin(l *Log, a *appLog) {
	p.life, p.since, p.upset = a.epoch.Load(), l.begun(a), a.upset.Load()
}

// beginWith notes the same as of another message, with which it is sent.
func (p *parcel) beginWith(other *parcel) {
	p.life, p.since, p.upset = other.life, other.since, other.upset
}

// acknowledged notes that a message was stored.
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

// perhapsStored says whether an attempt that failed may have stored the message.
func perhapsStored(err error) bool {
	var api *jetstream.APIError
	for _, not := range []error{nats.ErrNoResponders, jetstream.ErrNoStreamResponse, nats.ErrConnectionClosed, nats.ErrReconnectBufExceeded, nats.ErrMaxPayload} {
		if errors.Is(err, not) {
			return false
		}
	}
	return err != nil && !errors.As(err, &api)
}

// attemptPublish sends a message once, unless it may be stored already by an attempt before,
// and is.
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

// tooLargeTries is how many attempts a limit of the stream may refuse that is about to be put
// back.
const tooLargeTries = 5

// giveUp returns the error of a publish that is not tried again, nil if it is.
func (l *Log) giveUp(a *appLog, m *nats.Msg, err error, attempt int) error {
	var api *jetstream.APIError
	isAPI := errors.As(err, &api)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge(m, l.pub.conn().MaxPayload())
	case isAPI && api.ErrorCode == messageTooLarge && attempt < tooLargeTries:
		// It is within our limit, so the stream has a smaller one than it must have.
	case isAPI && api.ErrorCode == messageTooLarge:
		return fmt.Errorf("%w: the stream of the app takes no event of %d bytes", broker.ErrTooLarge, payload(m))
	case isAPI && api.ErrorCode == duplicateInProcess:
		// Another publish with this id is being agreed upon. Soon it is
		// stored, and this one a duplicate, or not.
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
