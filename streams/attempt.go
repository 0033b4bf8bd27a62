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
	// attemptStart is the timeout of one request at the start. A request that arrives while servers elect a leader may
	// never be answered.
	attemptStart = 3 * time.Second
	attemptPause = 200 * time.Millisecond
)

// attempt calls f until it succeeds, fails for good, or ctx ends. Each call has a timeout of its own.
func attempt(ctx context.Context, f func(ctx context.Context) error) error {
	var before error
	for {
		try, cancel := context.WithTimeout(ctx, attemptStart)
		err := f(try)
		cancel()
		if ctx.Err() != nil && before != nil && errors.Is(err, context.DeadlineExceeded) {
			return before // the last attempt was cut short, so its error means nothing
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

// passing reports whether a failure may be temporary.
func passing(err error) bool {
	if errors.Is(err, broker.ErrQueueFull) {
		return false
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		// 503 means that there is no leader or too few servers. Servers that have just formed a cluster may not know each
		// other's room yet, and a leaf node has no JetStream before it is connected.
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
