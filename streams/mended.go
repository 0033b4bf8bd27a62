package streams

import (
	"context"
	"time"
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
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(pause):
			}
			if err := l.confirm(stream); err != nil {
				l.opt.Logger.Debug("putting settings of a stream in force again failed", "stream", stream, "error", err)
			}
		}
	})
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
	if info.Cluster == nil || info.Cluster.Name == "" {
		_, err = l.js.UpdateStream(ctx, info.Config)
	}
	return err
}
