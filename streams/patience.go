package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/kv"
)

const (
	// shortestWait and longestWait bound the pause between two attempts to read.
	shortestWait = 20 * time.Millisecond
	longestWait  = 500 * time.Millisecond
)

// patiently calls read, and repeats that while the log cannot answer, because the servers may be electing a leader. It begins
// no attempt later than [follow.Patience] after the first, and cuts none short. It holds no lock while it waits. It ends with
// ctx, or with [broker.ErrClosed] when the log is closed.
func (l *Log) patiently(ctx context.Context, read func() error) error {
	until := time.Now().Add(follow.Patience(l.opt.PublishTimeout))
	for wait := shortestWait; ; wait = min(2*wait, longestWait) {
		err := read()
		if !worthWaiting(err) {
			return err
		}
		if ctx.Err() == nil && l.ctx.Err() == nil && time.Now().Before(until) {
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
			case <-l.ctx.Done():
			}
		}
		switch {
		case l.ctx.Err() != nil:
			return fmt.Errorf("%w: %w", broker.ErrClosed, err)
		case errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		}
		return err // says more than that the time is over
	}
}

// impatient bounds one request to the leader of a stream with attemptTimeout, because there may be no answer while servers elect
// a leader. If data arrives over the connection meanwhile, which came counts, the answer may be queued behind it. Then the
// request has the longer timeout, because a repeated request would only add to the queue.
func impatient(ctx context.Context, timeout time.Duration, came func() uint64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	before := came()
	over := time.AfterFunc(attemptTimeout, func() {
		if came() == before {
			cancel()
		}
	})
	return ctx, func() {
		over.Stop()
		cancel()
	}
}

// worthWaiting reports whether a failed reading may succeed in a moment.
func worthWaiting(err error) bool {
	var refused *broker.Refused
	var api *jetstream.APIError
	switch {
	case errors.As(err, &refused), errors.Is(err, errCrowded), errors.Is(err, broker.ErrClosed):
		return false
	case errors.Is(err, errNoStream), errors.Is(err, jetstream.ErrStreamNotFound):
		return true // a stream that vanished is created again
	case errors.As(err, &api):
		return api.Code >= 500
	}
	return errors.Is(err, broker.ErrUnavailable) || errors.Is(err, kv.ErrUnavailable)
}
