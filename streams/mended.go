package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// confirmAfter are the pauses before settings that were put back are written once more. A server without a cluster announces
// an edit before its store applies it. A gateway that puts the settings back at once may be faster than the store. The store
// would then keep the edit for good, although the stream reports the settings that were put back.
var confirmAfter = [...]time.Duration{100 * time.Millisecond, 2 * time.Second}

// noteMended logs that settings were put back, and writes them again later.
func (l *Log) noteMended(stream, settings string) {
	l.upkeep.mended.Add(1)
	l.opt.Logger.Warn("somebody changed settings of a stream that must not differ, and they were put back", "stream", stream, "settings", settings)
	if _, busy := l.confirming.LoadOrStore(stream, nil); busy || l.ctx.Err() != nil {
		return
	}
	l.running.Go(func() {
		defer l.confirming.Delete(stream)
		for _, pause := range confirmAfter {
			if err := insistAfter(l.ctx, pause, func() error { return l.confirm(stream) }); err != nil {
				l.opt.Logger.Debug("putting settings of a stream in force again failed", "stream", stream, "error", err)
			}
		}
	})
}

// confirmTries is how often writing the settings is tried, a second apart.
const confirmTries = 60

// insistAfter calls do after a pause, and repeats that until it works, the stream is gone, or confirmTries are used up.
func insistAfter(ctx context.Context, pause time.Duration, do func() error) (err error) {
	for range confirmTries {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if err = do(); err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		pause = time.Second
	}
	return err
}

// confirm writes the settings that a stream reports once more. In a cluster that is not needed, because the servers apply edits
// in order.
func (l *Log) confirm(stream string) error {
	ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	info := s.CachedInfo()
	if clusterless(info) {
		_, err = l.js.UpdateStream(ctx, info.Config)
	}
	return err
}
