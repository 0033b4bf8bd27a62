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
	// shortestWait and longestWait lie between two attempts to read what nobody could answer for.
	shortestWait = 20 * time.Millisecond
	longestWait  = 500 * time.Millisecond
)

// patiently does what reads the log, again and again while nobody can answer: the servers may be
// choosing a leader. It begins no attempt later than [follow.Patience] after the first, and cuts none
// short. It holds nothing while it waits, and ends with ctx, or with [broker.ErrClosed] when the log is closed.
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
		return err // it says more than that the time is over
	}
}

// impatient bounds one request to the leader of a stream by what an acknowledgement may take, for nobody
// may answer while servers elect one. As long as anything comes over the connection, which came counts, the
// answer may stand behind that, and has the time for readings: to ask anew would make more of what is in the way.
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

// worthWaiting says whether what could not be read may be readable in a moment.
func worthWaiting(err error) bool {
	var refused *broker.Refused
	var api *jetstream.APIError
	switch {
	case errors.As(err, &refused), errors.Is(err, errCrowded), errors.Is(err, broker.ErrClosed):
		return false
	case errors.Is(err, errNoStream), errors.Is(err, jetstream.ErrStreamNotFound):
		return true // a stream that vanished is made anew
	case errors.As(err, &api):
		return api.Code >= 500
	}
	return errors.Is(err, broker.ErrUnavailable) || errors.Is(err, kv.ErrUnavailable)
}
