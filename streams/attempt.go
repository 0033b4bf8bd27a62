package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/kv"
)

const (
	// attemptStart is how long one request of the start may take. A request that
	// arrives while servers elect a leader may never be answered.
	attemptStart = 3 * time.Second
	attemptPause = 200 * time.Millisecond
)

// attempt does something again and again until it succeeds, fails for good, or ctx is
// done. Each time has a deadline of its own.
func attempt(ctx context.Context, f func(ctx context.Context) error) error {
	var before error
	for {
		try, cancel := context.WithTimeout(ctx, attemptStart)
		err := f(try)
		cancel()
		if ctx.Err() != nil && before != nil && errors.Is(err, context.DeadlineExceeded) {
			return before // the last time was cut short, and says nothing
		}
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		before = err
		select {
		case <-time.After(attemptPause):
		case <-ctx.Done():
			return err
		}
	}
}

// noSuitablePeers is JetStream's error code for too few servers with room.
const noSuitablePeers = 10005

// passing says whether a failure may be over soon.
func passing(err error) bool {
	if errors.Is(err, broker.ErrQueueFull) {
		return false
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		// 503 without a leader or enough servers; servers that have just met may not
		// know of each other's room yet, and a leaf node has no JetStream before it is connected.
		return api.ErrorCode == noSuitablePeers || api.Code >= 500
	}
	for _, known := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrConnectionClosed, nats.ErrReconnectBufExceeded,
		kv.ErrUnavailable, broker.ErrUnavailable,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
