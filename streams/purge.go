package streams

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

var _ broker.Eraser = (*Log)(nil)

// weighed is the number of messages that are read before they are removed, to estimate their size.
const weighed = 256

// Purge implements [broker.Eraser]. A stream does not show afterwards that messages were removed from its middle, so the
// offset is recorded first.
func (l *Log) Purge(ctx context.Context, app, channel string, before uint64) (broker.Erased, error) {
	s, err := l.span(app, channel)
	if err != nil {
		return broker.Erased{}, err
	}
	if err := ctx.Err(); err != nil {
		return broker.Erased{}, err
	}
	var oldest []stored
	err = l.patiently(ctx, func() (err error) {
		before, oldest, err = s.weigh(ctx, before)
		return err
	})
	if err != nil || len(oldest) == 0 {
		return broker.Erased{}, err
	}
	n, err := l.purge(ctx, s, before)
	l.ahead.forget(s.subject) // even after an error, some messages may be gone
	if err != nil {
		return broker.Erased{}, err
	}
	return broker.ErasedOf(n, s.publications(oldest, s.app.currentEpoch())), nil
}

// weigh reads the oldest messages below an offset; 0 means all. If there are any, it records that the messages below the
// offset are about to be removed. It returns the effective offset.
func (s span) weigh(ctx context.Context, before uint64) (uint64, []stored, error) {
	l := s.log
	newest, found, err := l.reader.leaderGet(ctx, s.app.stream, getRequest{LastFor: s.subject})
	if err != nil || !found {
		return before, nil, err
	}
	if before == 0 || before > newest.offset {
		before = newest.offset + 1
	}
	oldest, _, err := s.forward(ctx, 1, before-1, weighed)
	if err == nil && len(oldest) == 0 && s.app.copies.Load() > 1 {
		// The replica that answered may be behind. The leader may have messages, which must be purged.
		var first stored
		if first, found, err = l.reader.leaderGet(ctx, s.app.stream, getRequest{Seq: 1, NextFor: s.subject}); found && first.offset < before {
			oldest = []stored{first}
		}
	}
	if err != nil || len(oldest) == 0 {
		return before, nil, err
	}
	info, err := l.streamInfo(ctx, s.app)
	if err != nil {
		return before, nil, err
	}
	if info.Config.DenyPurge {
		return before, nil, &broker.Refused{Reason: "the stream " + s.app.stream + " does not permit purges (deny_purge)", Cause: errors.New("deny_purge is set")}
	}
	return before, oldest, l.noteCut(ctx, cutKey(s.app.opt.ID, s.channel), cut{epochOf(info, ""), before})
}

// purge tells the leader to remove the messages below an offset, and returns how many there were. It retries only if it
// is certain that nothing was removed, because a second attempt would return another number.
func (l *Log) purge(ctx context.Context, s span, before uint64) (n uint64, err error) {
	var lost error
	err = l.patiently(ctx, func() error {
		if n, err = l.purgeOnce(ctx, s, before); perhapsStored(err) || errors.Is(err, nats.ErrConnectionClosed) {
			// A request that was sent also ends with this error, if its connection is closed.
			lost = err
			return nil
		}
		return err
	})
	return n, errors.Join(err, lost)
}

func (l *Log) purgeOnce(ctx context.Context, s span, before uint64) (uint64, error) {
	subject := l.reader.api + "STREAM.PURGE." + s.app.stream
	body, err := json.Marshal(map[string]any{"filter": s.subject, "seq": before})
	if err != nil {
		return 0, err
	}
	ctx, end := l.asking.expect(ctx, subject)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, l.reader.timeout)
	defer cancel()
	m, err := l.reader.link.conn().RequestWithContext(ctx, subject, body)
	var denied *broker.Refused
	switch {
	case errors.As(context.Cause(ctx), &denied):
		return 0, denied
	case err != nil:
		return 0, unavailable("purging", err)
	}
	var reply struct {
		Error  *jetstream.APIError `json:"error"`
		Purged uint64              `json:"purged"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return 0, unavailable("purging", err)
	}
	if reply.Error != nil {
		return 0, unavailable("purging", reply.Error)
	}
	return reply.Purged, nil
}

// cut is an offset of a stream below which the messages of a channel were purged.
type cut struct {
	stream string
	offset uint64
}

// cutKey returns the key of a channel in the bucket of epochs. It is one token, see leastKey.
func cutKey(app, channel string) string {
	return "=purged-" + name.Key(app) + "/" + name.Key(channel)
}

// cutOf reads the cut of a channel from the bucket of epochs. It asks the leader: a replica that is behind may not have
// the cut although the messages are gone already.
func (l *Log) cutOf(ctx context.Context, key string) (c cut, revision uint64, err error) {
	m, found, err := l.reader.leaderGet(ctx, "KV_"+l.epochs.bucket, getRequest{LastFor: "$KV." + l.epochs.bucket + "." + key})
	if err != nil || !found {
		return cut{}, 0, err
	}
	stream, number, _ := strings.Cut(string(m.data), " ")
	if c.offset, err = strconv.ParseUint(number, 10, 64); err != nil {
		return cut{}, m.offset, nil // not written by a gateway; it is overwritten
	}
	c.stream = stream
	return c, m.offset, nil
}

// noteCut stores a cut, unless one at a higher offset is stored already.
func (l *Log) noteCut(ctx context.Context, key string, c cut) error {
	for {
		have, revision, err := l.cutOf(ctx, key)
		if err != nil || have.stream == c.stream && have.offset >= c.offset {
			return err
		}
		value := []byte(c.stream + " " + strconv.FormatUint(c.offset, 10))
		if revision == 0 {
			_, err = l.epochs.store.Create(ctx, key, value)
		} else {
			_, err = l.epochs.store.Update(ctx, key, value, revision)
		}
		switch {
		case errors.Is(err, kv.ErrConflict):
		case err != nil:
			return unavailable("noting what is removed", err)
		default:
			return nil
		}
	}
}

// cut returns the offset below which messages of the channel were purged, 0 for none.
func (s span) cut(ctx context.Context, info *jetstream.StreamInfo) (uint64, error) {
	c, _, err := s.log.cutOf(ctx, cutKey(s.app.opt.ID, s.channel))
	if err != nil || c.stream != epochOf(info, "") {
		return 0, err
	}
	return c.offset, nil
}

// denials notifies callers that wait for an answer when NATS denies their request. NATS reports the violation to the
// connection and does not answer the request. The zero value is ready. Safe for concurrent use.
type denials struct {
	mu      sync.Mutex
	waiting map[*denial]struct{}
}

// denial is one request that may be denied.
type denial struct {
	subject string
	end     context.CancelCauseFunc
}

// expect returns a context that ends with a [broker.Refused] when a request on the subject is denied. The caller must
// call done when it has the answer.
func (d *denials) expect(ctx context.Context, subject string) (waiting context.Context, done func()) {
	waiting, end := context.WithCancelCause(ctx)
	one := &denial{subject, end}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[*denial]struct{}{}
	}
	d.waiting[one] = struct{}{}
	return waiting, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, one)
		end(nil)
	}
}

// deny passes a permissions violation to the callers that wait for it, and reports whether there are any.
func (d *denials) deny(violation string, err error) (some bool) {
	_, subject, _ := strings.Cut(violation, `for Publish to "`)
	subject, _, _ = strings.Cut(subject, `"`)
	d.mu.Lock()
	defer d.mu.Unlock()
	for one := range d.waiting {
		if one.subject == subject {
			one.end(&broker.Refused{Reason: "NATS does not permit it: gateways lack the permission to publish to " + subject, Cause: err})
			some = true
		}
	}
	return some
}
