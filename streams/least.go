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

// least is the smallest number of messages of a channel that a stream was told to keep
// since it was made. What such a limit removed stays removed when it is raised, so a
// channel was never cut if it has fewer messages than that. All gateways share it, in
// the bucket of epochs.
type least struct {
	// stream is that of which the number is: another one of the same name begins
	// anew. A new epoch of the same stream does not.
	stream string
	// messages is 0 for no limit.
	messages int64
}

// smaller is the smaller of two limits, of which 0 and less is none.
func smaller(a, b int64) int64 {
	switch {
	case a <= 0:
		return max(b, 0)
	case b <= 0:
		return a
	}
	return min(a, b)
}

// leastOf is what the present configuration of a stream says. Where a publisher may remove
// what is before his message, or says how long it lives, a single message proves nothing.
func leastOf(info *jetstream.StreamInfo) least {
	kept := max(info.Config.MaxMsgsPerSubject, 0)
	if info.Config.AllowRollup || info.Config.AllowMsgTTL {
		kept = 1
	}
	return least{epochOf(info, ""), kept}
}

// with is the smaller of two limits of a stream. One of another stream says nothing.
func (s least) with(o least) least {
	if o.stream == s.stream {
		s.messages = smaller(s.messages, o.messages)
	}
	return s
}

// leastKey is one token, as permissions allow it, and cannot be the key of an override:
// that has two hexadecimal digits after each `=`.
func leastKey(app string) string { return "=least-" + name.Key(app) }

// least returns what is remembered of an app.
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
		return least{}, entry.Revision, nil // not ours; it is written anew
	}
	return least{stream, messages}, entry.Revision, nil
}

// remember makes sure that a limit of an app's stream is not forgotten, and returns the
// smallest one.
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

// rememberLeast remembers the present limit of an app's stream, which somebody may have
// changed, and once more what is known here, which the bucket may have lost. The caller
// has the turn.
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
