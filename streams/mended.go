package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// confirmAfter are the pauses before settings that were put back are put in force once more.
// A server that stands alone tells of an edit before its store knows of it. Who puts settings
// back as soon as he hears of that may be faster, and then the store goes by the edit for good,
// whatever the stream says of itself.
var confirmAfter = [...]time.Duration{100 * time.Millisecond, 2 * time.Second}

// noteMended says that settings were put back, and has them put in force again later.
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

// confirmTries is how often settings are put in force that cannot be at the moment, a second apart.
const confirmTries = 60

// insistAfter does something after a pause, and again until it works, the stream is gone, or it was tried often.
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

// confirm puts in force what a stream says of itself. In a cluster that is so already: its
// servers take edits one after the other.
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
