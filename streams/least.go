package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// least is the smallest limit of messages per channel that a stream has had since it was created. Messages that a limit has
// removed do not come back when it is raised. So only a channel with fewer messages than the smallest limit is certain
// never to have been cut. All gateways share the value in the bucket of epochs.
type least struct {
	// stream identifies the stream: for a new stream of the same name the value starts again. It does not for a new epoch
	// of the same stream.
	stream string
	// messages is the limit, 0 for none.
	messages int64
}

// smaller returns the smaller of two limits, where 0 and negative values mean none.
func smaller(a, b int64) int64 {
	switch {
	case a <= 0:
		return max(b, 0)
	case b <= 0:
		return a
	}
	return min(a, b)
}

// leastOf returns the limit by the present configuration of a stream. If publishers may remove earlier messages, or set the
// lifetime of a message, even a single message in a channel does not prove that none was removed.
func leastOf(info *jetstream.StreamInfo) least {
	kept := max(info.Config.MaxMsgsPerSubject, 0)
	if info.Config.AllowRollup || info.Config.AllowMsgTTL {
		kept = 1
	}
	return least{epochOf(info, ""), kept}
}

// with returns the smaller of two limits of a stream. A limit of another stream is ignored.
func (s least) with(o least) least {
	if o.stream == s.stream {
		s.messages = smaller(s.messages, o.messages)
	}
	return s
}

// leastKey returns the key of an app in the bucket. It is one token, which permissions allow, and cannot be the key of an
// override, which has two hexadecimal digits after each `=`.
func leastKey(app string) string { return "=least-" + name.Key(app) }

// least reads the value of an app.
func (e *epochs) least(ctx context.Context, app string) (least, uint64, error) {
	entry, err := e.store.Get(ctx, leastKey(app))
	if errors.Is(err, kv.ErrNotFound) {
		return least{}, 0, nil
	}
	if err != nil {
		return least{}, 0, err
	}
	stream, number, _ := strings.Cut(string(entry.Value), " ")
	messages, err := strconv.ParseInt(number, 10, 64)
	if err != nil || messages < 0 {
		return least{}, entry.Revision, nil // not written by a gateway; it is overwritten
	}
	return least{stream, messages}, entry.Revision, nil
}

// remember stores a limit of the stream of an app, unless a smaller one is stored, and returns the smallest one.
func (e *epochs) remember(ctx context.Context, app string, l least) (least, error) {
	for {
		have, revision, err := e.least(ctx, app)
		if err != nil {
			return l, err
		}
		want := l.with(have)
		if have == want {
			return want, nil
		}
		value := []byte(want.stream + " " + strconv.FormatInt(want.messages, 10))
		if revision == 0 {
			_, err = e.store.Create(ctx, leastKey(app), value)
		} else {
			_, err = e.store.Update(ctx, leastKey(app), value, revision)
		}
		if err == nil {
			return want, nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return l, err
		}
	}
}

// rememberLeast stores the present limit of the stream of an app, which may have been edited, together with the one known
// here, which the bucket may have lost. The caller holds the turn.
func (l *Log) rememberLeast(ctx context.Context, a *appLog, info *jetstream.StreamInfo) error {
	now := leastOf(info)
	if known := a.least.Load(); known != nil {
		now = now.with(*known)
	}
	now, err := l.epochs.remember(ctx, a.opt.ID, now)
	if err != nil {
		return fmt.Errorf("limits of the app %s: %w", a.opt.ID, err)
	}
	a.least.Store(&now)
	return nil
}

// leastKept returns the smallest limit of an app's stream, 0 for none.
func (l *Log) leastKept(ctx context.Context, a *appLog, info *jetstream.StreamInfo) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	shared, _, err := l.epochs.least(ctx, a.opt.ID)
	if err != nil {
		return 0, unavailable("reading the limits of the log", err)
	}
	s := leastOf(info).with(shared)
	if known := a.least.Load(); known != nil {
		s = s.with(*known)
	}
	return s.messages, nil
}
